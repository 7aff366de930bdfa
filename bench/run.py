"""Amalthea beside its peers, in one run: seconds, medians and ratios.

    python bench/run.py                     all workloads
    python bench/run.py tutorial images     some of them
    python bench/run.py --quick             few workloads and few peers
    python bench/run.py --profile pipeline  where Amalthea's own time goes

Every measurement is a process of its own, without a compilation cache, so compilation is included
and imports are not; the solvers alternate. Results go to bench/results/ and docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from typing import Any

import environments
import results
from agreement import check_scores
from measure import measured
from scaling import SIZES, curves
from solvers import AMALTHEA, EVERYONE, LIMIT, Solver
from tables import HEADERS, Row, cells, markdown, row
from workloads import WORKLOADS, Workload

QUICK = ("tutorial", "pipeline")
RUNS, RUNS_QUICK = 3, 2


def main(arguments: argparse.Namespace) -> None:
    names = arguments.workloads or (QUICK if arguments.quick else tuple(WORKLOADS))
    unknown = set(names) - set(WORKLOADS)
    if unknown:
        raise SystemExit(f"Unknown workloads {sorted(unknown)}; there are: {', '.join(WORKLOADS)}.")
    if arguments.profile:
        import where_time_goes

        return where_time_goes.main(names)
    chosen = [solver for solver in EVERYONE if solver.in_quick or not arguments.quick]
    environments.make_all({solver.environment for solver in chosen})
    runs = arguments.runs or (RUNS_QUICK if arguments.quick else RUNS)
    _warm_up(chosen)
    rows: list[Row] = []
    print(markdown(HEADERS, []), end="", flush=True)
    for name in names:
        rows += compared(WORKLOADS[name], chosen, runs)
        results.write(rows, _command(arguments), runs, chosen, None)
    whole = not arguments.quick and not arguments.workloads
    if whole or arguments.scaling:
        results.write(rows, _command(arguments), runs, chosen, curves(SIZES))


def compared(workload: Workload, chosen: Sequence[Solver], n_runs: int) -> list[Row]:
    """Everyone who can do this workload, alternating; their work and scores must agree."""
    solvers = [solver for solver in chosen if workload.name in solver.workloads]
    runs: dict[str, list[dict[str, Any]]] = {solver.title: [] for solver in solvers}
    for _ in range(n_runs):
        for solver in solvers:
            runs[solver.title].append(measured(solver, workload))
    ours = runs[AMALTHEA.title][0]["scores"]
    rows: list[Row] = []
    for solver in solvers:
        theirs = runs[solver.title]
        check_scores(
            f"{solver.title} on {workload.name}",
            theirs[0]["scores"],
            _same_candidates(workload, ours, len(theirs[0]["scores"])),
            workload.tolerance,
        )
        warm = _warm(solver, workload) if solver in (AMALTHEA, LIMIT) else None
        of_amalthea = rows[0].seconds if rows else None
        rows.append(row(workload.name, solver.title, theirs, workload.n_fits, of_amalthea, warm))
        print(markdown(cells(rows[-1]), []).splitlines()[0], flush=True)
    return rows


def _same_candidates(workload: Workload, scores: Sequence[float], n: int) -> list[float]:
    """Amalthea's scores of the candidates that a solver was measured on."""
    if n == len(workload.candidates):
        return list(scores)
    number = {str(candidate): place for place, candidate in enumerate(workload.candidates)}
    some = workload.some(n / len(workload.candidates))
    return [scores[number[str(candidate)]] for candidate in some]


def _warm(solver: Solver, workload: Workload) -> float:
    """Seconds with all programs in JAX's cache on disk."""
    with tempfile.TemporaryDirectory() as cache:
        measured(solver, workload, cache)
        return float(measured(solver, workload, cache)["seconds"])


def _warm_up(solvers: Sequence[Solver]) -> None:
    """Each solver once, so that the files that it imports have been read."""
    for solver in solvers:
        measured(solver, WORKLOADS["tutorial1"])


def _command(arguments: argparse.Namespace) -> str:
    quick = ["BENCH=quick"] if arguments.quick else []
    some = [f'WORKLOADS="{" ".join(arguments.workloads)}"'] if arguments.workloads else []
    runs = [f"RUNS={arguments.runs}"] if arguments.runs else []
    return " ".join(["make bench", *quick, *runs, *some])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--scaling", action="store_true", help="the curves over fits and rows too")
    parser.add_argument("--runs", type=int, help=f"runs of each solver (default {RUNS})")
    main(parser.parse_args())
