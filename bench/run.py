"""Amalthea beside its peers, in one run: seconds, medians, spreads and ratios.

    python bench/run.py                      all workloads, and the curves
    python bench/run.py tutorial brownlee    some of them
    python bench/run.py --mode quick         two workloads and the peers that are quick to install
    python bench/run.py --mode smoke         does it all work? most workloads, a few candidates each
    python bench/run.py --plan               who would be measured on what, and for how long
    python bench/run.py --profile pipeline   where Amalthea's own time goes

Every measurement is a process of its own, without a compilation cache unless the table says
otherwise, so compilation is included; imports are not. Results go to bench/results/ after each
workload. The exit status is 1 where epochs, folds or scores of peers do not agree.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import Any

import arithmetic
import growth
import machine
import plots
import results
import rounds
import summaries
import venvs
from peers.registry import ARITHMETIC, PEERS
from plan import GROWTH, Plan, plan_for
from processes import PeerFailed
from spending import listing
from workloads import WORKLOADS


def main(arguments: argparse.Namespace) -> int:
    if arguments.profile:
        import where_time_goes  # Amalthea is imported with it

        return where_time_goes.main(arguments.workloads)
    plan = plan_for(arguments.workloads, arguments.mode, arguments.runs)
    if arguments.plan:
        print(listing(plan))
        return 0
    started = time.monotonic()
    venvs.make(plan.environments)
    found = _header(plan, _command(arguments))
    for name in (*plan.workloads, *([GROWTH] if plan.growth else [])):
        try:
            _measure(plan, name, found)
        except PeerFailed as error:
            found["failed"].append(f"{name}: {error}")
            print(f"FAILED {name}: {error}", flush=True)
        found["minutes"] = round((time.monotonic() - started) / 60, 1)
        results.write(found)
    return _end(found)


def _header(plan: Plan, command: str) -> dict[str, Any]:
    out = subprocess.run(
        [str(venvs.python_of("keras")), str(venvs.HERE / "arithmetic.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "mode": plan.mode,
        "command": command,
        "minutes": 0.0,
        "machine": machine.machine(),
        "versions": machine.versions(plan.environments),
        "peak": float(out.stdout),
        "workloads": {},
        "disagreements": [],
        "failed": [],
    }


def _measure(plan: Plan, name: str, found: dict[str, Any]) -> None:
    if name == GROWTH:
        curves = growth.Curves(found["workloads"])
        curves.measure()
        found["growth"] = curves.points
        found["disagreements"] += curves.disagreements
        found["failed"] += curves.failed
        return
    workload = WORKLOADS[name]
    runs = rounds.measure_workload(plan, workload)
    told = rounds.disagreements(runs)
    for line in told:
        print(f"DISAGREEMENT {line}", flush=True)
    found["disagreements"] += told
    ours = runs[0]
    found["workloads"][name] = {
        "title": workload.title,
        "fits": workload.n_fits,
        "peers": {one.peer.name: summaries.figures_of(one, ours) for one in runs},
        "operations": arithmetic.operations(workload) if name in ARITHMETIC else None,
    }


def _end(found: dict[str, Any]) -> int:
    found["disagreements"] += [
        f"{PEERS[peer].title}: {comparison}"
        for peer, comparison in summaries.overall_scores(found["workloads"]).items()
        if not comparison.agrees
    ]
    results.write(found)
    plots.draw(found)
    print(results.markdown(found))
    if found["mode"] == "full" and not found["failed"]:
        results.publish(found)
    if found["disagreements"] or found["failed"]:
        print("The peers did not all do the same work; these times must not be compared:")
        print("\n".join([*found["disagreements"], *found["failed"]]))
        return 1
    return 0


def _command(arguments: argparse.Namespace) -> str:
    mode = [] if arguments.mode == "full" else [f"BENCH={arguments.mode}"]
    some = [f'WORKLOADS="{" ".join(arguments.workloads)}"'] if arguments.workloads else []
    runs = [f"RUNS={arguments.runs}"] if arguments.runs else []
    return " ".join(["make bench", *mode, *runs, *some])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Amalthea beside its peers.")
    parser.add_argument("workloads", nargs="*", help="all, where none is named")
    parser.add_argument("--mode", choices=("full", "quick", "smoke"), default="full")
    parser.add_argument("--runs", type=int, help="of each peer; 3, or fewer for slow ones")
    parser.add_argument("--plan", action="store_true", help="print the plan, measure nothing")
    parser.add_argument("--profile", action="store_true", help="where Amalthea's own time goes")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(_arguments()))
