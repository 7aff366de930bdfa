"""How time and memory grow with the number of fits, and with the rows of the data."""

from __future__ import annotations

from typing import Any

import venvs
from parts import Part, seconds_of_whole, smallest, whole
from peers.registry import PEERS, Peer
from processes import measured
from rounds import first_of
from workloads import Workload, workload

FITS = {10: "many2", 100: "many20", 1_000: "many200", 10_000: "many"}
ROWS = {1_000: "rows1000", 10_000: "rows10000", 100_000: "rows100000", 1_000_000: "rows1000000"}
_OF_FITS = ("amalthea", "limit", "keras")
_OF_ROWS = ("amalthea", "keras")
_WHOLE_UP_TO = 10  # fits of a peer that is measured on a part of more

Point = dict[str, Any]


def curves(known: dict[str, Any]) -> dict[str, list[Point]]:
    """Both curves; ``known`` are the workloads that the bench has measured already."""
    many = known.get("many", {}).get("peers", {})
    return {
        "fits": [_point(x, name, peer, many) for x, name in FITS.items() for peer in _OF_FITS],
        "rows": [_point(x, name, peer, {}) for x, name in ROWS.items() for peer in _OF_ROWS],
    }


def _point(x: int, name: str, peer_name: str, many: dict[str, Any]) -> Point:
    work, peer = workload(name), PEERS[peer_name]
    part = _part(peer, work)
    if name == "many" and peer_name in many:
        seconds, peak = many[peer_name]["seconds"][0], many[peer_name]["peak_mb"]
    else:
        outcome = measured(venvs.python_of(peer.environment), peer, name, part)
        first = first_of(outcome, peer.n_jobs)
        seconds = seconds_of_whole(outcome["seconds"], outcome["of_candidates"], first, part, work)
        peak = round(outcome["peak"] / 1e6)
    is_whole = part == whole(work)
    print(f"  growth {name:14s} {peer_name:10s} {seconds:9.2f} s {peak:7d} MB", flush=True)
    return {
        "x": x,
        "peer": peer_name,
        "seconds": round(seconds, 3),
        "peak_mb": peak if is_whole else None,  # a part holds less than the whole
    }


def _part(peer: Peer, work: Workload) -> Part:
    if peer.whole or work.n_fits <= _WHOLE_UP_TO:
        return whole(work)
    return smallest(work, range(len(work.candidates)))
