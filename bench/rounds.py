"""The measuring of one workload: a warm-up for each peer, then rounds in which they take turns."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import venvs
from agreement import Comparison, comparisons, work_differences
from parts import Part
from peers.registry import Peer
from plan import LARGE, Plan
from processes import measured
from workloads import Workload

Outcome = dict[str, Any]
_SECOND_LOOK = (201, 202)  # seeds of the runs that decide where scores seem to differ


@dataclass
class Runs:
    """What was measured of one peer on one workload."""

    peer: Peer
    workload: Workload
    part: Part
    first: Part  # what the warm-up ran, and the run with a warm cache
    outcomes: list[Outcome] = field(default_factory=list)
    extra: list[Outcome] = field(default_factory=list)  # of the same part: scores of other seeds
    warm: Outcome | None = None
    looked_again: bool = False
    spent: float = 0.0  # seconds of all its processes

    def scores(self) -> list[Any]:
        return [outcome["scores"] for outcome in (*self.outcomes, *self.extra)]

    def measure(self, part: Part, seed: int, cache: Path | None = None) -> Outcome:
        python = venvs.python_of(self.peer.environment)
        outcome = measured(python, self.peer, self.workload.name, part, seed, cache)
        self.spent += outcome["process"]
        return outcome


_seen: set[str] = set()  # peers whose files the system has read already


def measure_workload(plan: Plan, workload: Workload) -> list[Runs]:
    with tempfile.TemporaryDirectory() as folder:
        caches = Path(folder)
        runs = [_warmed_up(plan, workload, peer, caches) for peer in plan.peers_of(workload)]
        for number in range(max(plan.runs_of(one.peer, workload) for one in runs)):
            for one in runs:
                if len(one.outcomes) <= number < plan.runs_of(one.peer, workload):
                    one.outcomes.append(one.measure(one.part, seed=number))
                    _tell(one)
        for one in runs:
            if plan.is_measured_warm(one.peer, workload):
                one.warm = one.measure(one.first, seed=0, cache=caches / one.peer.name)
    return runs


def _warmed_up(plan: Plan, workload: Workload, peer: Peer, caches: Path) -> Runs:
    """Read the peer's files, learn what a fit costs, and fill a cache of programs if it is wanted.

    It counts as a run where all of that was done before and it ran what the rounds run.
    """
    cache = caches / peer.name if plan.is_measured_warm(peer, workload) else None
    first = plan.first_part(peer, workload)
    runs = Runs(peer, workload, first, first)
    outcome = runs.measure(first, seed=100, cache=cache)
    runs.part = plan.part_of(peer, workload, _seconds_per_fit(outcome, first, peer.n_jobs))
    if runs.part == first:
        counts = cache is None and (peer.name in _seen or plan.mode == "smoke")
        (runs.outcomes if counts else runs.extra).append(outcome)
    _seen.add(peer.name)
    if runs.outcomes:
        _tell(runs)
    return runs


def _seconds_per_fit(outcome: Outcome, part: Part, n_jobs: int) -> float:
    """Those that began first are left out, if others are there: they pay for the process."""
    seconds, first = outcome["of_candidates"], first_of(outcome, n_jobs)
    later = [s for place, s in enumerate(seconds) if place not in first] or seconds
    return sum(later) / len(later) / part.n_folds / n_jobs


def first_of(outcome: Outcome, n_jobs: int) -> list[int]:
    """The places of the candidates that began first, one for each process."""
    order: list[int] = outcome["order"] or list(range(len(outcome["of_candidates"])))
    return order[:n_jobs]


def disagreements(runs: list[Runs]) -> list[str]:
    """Who did not do the same work as Amalthea, or reached other scores."""
    told = [
        f"{_label(one)}: {difference}"
        for one in runs
        for outcome in (*one.outcomes, *one.extra)
        for difference in work_differences(one.workload, one.part, outcome)
    ]
    ours = next((one for one in runs if one.peer.name == "amalthea"), None)
    if told or ours is None:
        return told
    for one in runs:
        if not all(comparison.agrees for comparison in compared(one, ours)):
            _look_again(one, ours)
            told += [f"{_label(one)}: {c}" for c in compared(one, ours) if not c.agrees]
    return told


def compared(one: Runs, ours: Runs) -> list[Comparison]:
    if one is ours or one.workload.twice:
        return []
    return comparisons(one.part, ours.scores(), one.scores())


def _look_again(one: Runs, ours: Runs) -> None:
    """More seeds, since of some hundred comparisons one is off by chance."""
    for runs in (one, ours):
        if not runs.looked_again:
            seeds = _SECOND_LOOK[:1] if runs.workload.name in LARGE else _SECOND_LOOK
            runs.extra += [runs.measure(runs.part, seed) for seed in seeds]
        runs.looked_again = True


def _label(one: Runs) -> str:
    return f"{one.workload.name}, {one.peer.title}"


def _tell(one: Runs) -> None:
    share = f"{min(one.part.n_fits, one.workload.n_fits)} of {one.workload.n_fits} fits"
    seconds = one.outcomes[-1]["seconds"]
    print(
        f"  {one.workload.name:19s} {one.peer.title:25s} {share:21s} {seconds:7.2f} s", flush=True
    )
