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
from plan import SLOW, Plan
from processes import measured
from scaling import durations, fits_of
from workloads import Workload

Outcome = dict[str, Any]
_WARM_UP, _MORE = 100, 101  # seeds of the first run, and of those that are for their scores alone
_SECOND_LOOK = range(201, 205)  # seeds of the runs that decide where scores seem to differ


@dataclass
class Runs:
    """What was measured of one peer on one workload."""

    peer: Peer
    workload: Workload
    part: Part
    warm_up: Part  # what was run first, and with a warm cache
    outcomes: list[Outcome] = field(default_factory=list)
    extra: list[Outcome] = field(default_factory=list)  # of the same part: scores of other seeds
    warm: Outcome | None = None
    looked_again: bool = False
    spent: float = 0.0  # seconds of all its processes
    differences: list[str] = field(default_factory=list)  # of any outcome, from the work asked for

    def scores(self) -> list[Any]:
        return [outcome["scores"] for outcome in (*self.outcomes, *self.extra)]

    def measure(self, part: Part, seed: int, cache: Path | None = None) -> Outcome:
        python = venvs.python_of(self.peer.environment)
        outcome = measured(python, self.peer, self.workload.name, part, seed, cache)
        self.spent += outcome["process"]
        self.differences += work_differences(self.workload, part, outcome)
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
        if runs[0].peer.name == "amalthea":
            _add_seeds(runs[0], plan.seeds_of(workload))
        for one in runs:
            if plan.is_measured_warm(one.peer, workload):
                one.warm = one.measure(one.warm_up, seed=0, cache=caches / one.peer.name)
    return runs


def _warmed_up(plan: Plan, workload: Workload, peer: Peer, caches: Path) -> Runs:
    """Read the peer's files, learn what a fit costs, and fill a cache of programs if it is wanted.

    It counts as a run where all of that was done before and it ran what the rounds run.
    """
    cache = caches / peer.name if plan.is_measured_warm(peer, workload) else None
    part = plan.first_part(peer, workload)
    runs = Runs(peer, workload, part, part)
    outcome = runs.measure(part, _WARM_UP, cache)
    runs.part = plan.part_of(peer, workload, _seconds_per_fit(outcome, runs))
    if runs.part == part:
        counts = cache is None and (peer.name in _seen or plan.mode == "smoke")
        (runs.outcomes if counts else runs.extra).append(outcome)
    _seen.add(peer.name)
    if runs.outcomes:
        _tell(runs)
    return runs


def _seconds_per_fit(outcome: Outcome, runs: Runs) -> float:
    """The first of each process are left out, if others are there: they pay for the process."""
    fits = fits_of(outcome, durations(outcome), runs.warm_up, runs.workload)
    later = [fit.seconds for fit in fits if not fit.is_first] or [fit.seconds for fit in fits]
    return sum(later) / len(later) / runs.peer.n_jobs


def _add_seeds(ours: Runs, wanted: int) -> None:
    """Run as often as the noise of scores has to be known from."""
    missing = max(0, wanted - len(ours.scores()))
    ours.extra += [ours.measure(ours.part, _MORE + number) for number in range(missing)]


def disagreements(runs: list[Runs]) -> list[str]:
    """Who did not do the same work as Amalthea, or reached other scores."""
    ours = next((one for one in runs if one.peer.name == "amalthea"), None)
    if ours is not None and not any(one.differences for one in runs):
        _look_again(runs, ours)
    told = [f"{_label(one)}: {what}" for one in runs for what in dict.fromkeys(one.differences)]
    if told or ours is None:
        return told
    return [f"{_label(one)}: {c}" for one in runs for c in compared(one, ours) if not c.agrees]


def compared(one: Runs, ours: Runs) -> list[Comparison]:
    return [] if one is ours else comparisons(one.part, ours.scores(), one.scores())


def _look_again(runs: list[Runs], ours: Runs) -> None:
    """More seeds where scores seem to differ, since of hundreds of comparisons some do by chance.

    Amalthea's new runs change what the others are judged by, so these are looked at once more.
    """
    while doubtful := [one for one in runs if not one.looked_again and _differs(one, ours)]:
        for one in (ours, *doubtful):
            if not one.looked_again:
                seeds = _SECOND_LOOK[:2] if one.workload.name in SLOW else _SECOND_LOOK
                one.extra += [one.measure(one.part, seed) for seed in seeds]
            one.looked_again = True


def _differs(one: Runs, ours: Runs) -> bool:
    return not all(comparison.agrees for comparison in compared(one, ours))


def _label(one: Runs) -> str:
    return f"{one.workload.name}, {one.peer.title}"


def _tell(one: Runs) -> None:
    share = f"{one.part.n_fits} of {one.workload.n_fits} fits"
    seconds = one.outcomes[-1]["seconds"]
    print(
        f"  {one.workload.name:19s} {one.peer.title:25s} {share:21s} {seconds:7.2f} s", flush=True
    )
