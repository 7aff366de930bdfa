"""What a plan will measure, and how long that takes by what earlier runs have spent."""

from __future__ import annotations

import json

from parts import whole
from peers.registry import Peer
from plan import Plan
from results import FOLDER, table
from workloads import WORKLOADS, Workload


def listing(plan: Plan) -> str:
    """A table of the plan, and the sum of the minutes that are known."""
    spent = _spent(plan.mode)
    workloads = [WORKLOADS[name] for name in plan.workloads]
    pairs = [(workload, peer) for workload in workloads for peer in plan.peers_of(workload)]
    rows = [_row(plan, *pair, spent.get((pair[0].name, pair[1].name))) for pair in pairs]
    known = [seconds for w, p in pairs if (seconds := spent.get((w.name, p.name))) is not None]
    last = f"{len(known)} of {len(pairs)} took {sum(known) / 60:.0f} minutes in the last such run."
    headers = ["workload", "peer", "runs", "fits", "warm too", "seconds, last time"]
    return f"{table(headers, rows)}\n\n{last}"


def _row(plan: Plan, workload: Workload, peer: Peer, seconds: float | None) -> list[str]:
    part = plan.first_part(peer, workload)
    return [
        *(workload.name, peer.title, str(plan.runs_of(peer, workload))),
        "all" if part == whole(workload) else f"{part.n_fits} or more of {workload.n_fits:,}",
        "yes" if plan.is_measured_warm(peer, workload) else "",
        "?" if seconds is None else f"{seconds:.0f}",
    ]


def _spent(mode: str) -> dict[tuple[str, str], float]:
    file = FOLDER / f"{mode}.json"
    if not file.exists():
        return {}
    workloads = json.loads(file.read_text())["workloads"]
    return {
        (name, peer): figures["spent"]
        for name, one in workloads.items()
        for peer, figures in one["peers"].items()
    }
