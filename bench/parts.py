"""What part of a workload is measured, and what the whole would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from workloads import Fold, Workload

FEWEST = 2  # candidates beside those that pay for what a process does once


@dataclass(frozen=True)
class Part:
    """Some candidates of a workload, by number, on its first folds."""

    candidates: tuple[int, ...]
    n_folds: int

    @property
    def n_fits(self) -> int:
        return len(self.candidates) * self.n_folds

    def candidates_of(self, workload: Workload) -> list[dict[str, Any]]:
        every = workload.candidates
        return [every[number] for number in self.candidates]

    def folds_of(self, workload: Workload) -> list[Fold]:
        return workload.folds()[: self.n_folds]


def whole(workload: Workload) -> Part:
    return Part(tuple(range(len(workload.candidates))), workload.n_folds)


def smallest(workload: Workload, among: Sequence[int], n_jobs: int = 1) -> Part:
    """The fewest candidates from which the whole can be told, on one fold."""
    return Part(_mixed(workload, among, _fewest(workload, n_jobs)), 1)


def part_within(
    seconds: float,
    seconds_per_fit: float,
    workload: Workload,
    among: Sequence[int],
    n_jobs: int = 1,
) -> Part:
    """As much of these candidates as takes so long: rather more of them than more folds.

    A cost per fit is the same on each fold, but differs between candidates.
    """
    affordable = seconds / max(seconds_per_fit, 1e-6)
    if affordable >= len(among) * workload.n_folds:
        return Part(tuple(among), workload.n_folds)
    n_folds = max(1, min(workload.n_folds, int(affordable // len(among))))
    wanted = max(_fewest(workload, n_jobs), int(affordable // n_folds))
    return Part(_mixed(workload, among, wanted), n_folds)


def spread(n: int, wanted: int) -> tuple[int, ...]:
    """So many of the numbers below ``n``, each in the middle of an equal share."""
    wanted = min(n, wanted)
    return tuple(int((place + 0.5) * n / wanted) for place in range(wanted))


def seconds_of_whole(
    seconds: float,
    of_candidates: Sequence[float],
    first: Sequence[int],
    part: Part,
    workload: Workload,
    n_jobs: int = 1,
) -> float:
    """What the whole workload would take: the part, and the rest at the cost of its later fits.

    Parameters
    ----------
    seconds : float
        Of the search over the part.
    of_candidates : sequence of float
        The seconds that each candidate was worked on; with ``n_jobs`` they pass that much faster.
    first : sequence of int
        The places in ``of_candidates`` of those that began first, one for each process, which
        paid for imports and caches. They are left out of the cost of the rest, if others are there.
    """
    every = workload.candidates
    places = range(len(part.candidates))
    kept = [place for place in places if place not in first] or list(places)
    steps = [workload.steps_of(every[part.candidates[place]]) for place in kept]
    cost = _line(steps, [of_candidates[place] / part.n_folds for place in kept])
    done = set(part.candidates)
    missing = [workload.n_folds - part.n_folds * (n in done) for n in range(len(every))]
    rest = sum(n * cost(workload.steps_of(c)) for n, c in zip(missing, every, strict=True))
    return seconds + rest / n_jobs


def _fewest(workload: Workload, n_jobs: int) -> int:
    """One more where fits differ in length, so that a line can be laid through their costs."""
    return FEWEST + n_jobs + (len({workload.steps_of(c) for c in workload.candidates}) > 1)


def _mixed(workload: Workload, among: Sequence[int], wanted: int) -> tuple[int, ...]:
    """Candidates evenly spread over the grid, and over the lengths of their fits.

    The one in the middle comes first, since the first is left out of the costs.
    """
    every = workload.candidates
    by_length = sorted(among, key=lambda number: workload.steps_of(every[number]))
    chosen = [by_length[place] for place in spread(len(by_length), wanted)]
    middle = len(chosen) // 2
    return (chosen[middle], *chosen[:middle], *chosen[middle + 1 :])


def _line(steps: Sequence[float], seconds: Sequence[float]) -> _Line:
    if len(set(steps)) == 1:
        return _Line(0.0, float(np.mean(seconds)))
    slope, start = np.polyfit(steps, seconds, 1)
    if slope < 0 or start < 0:  # noise
        return _Line(float(np.sum(seconds) / np.sum(steps)), 0.0)
    return _Line(float(slope), float(start))


@dataclass(frozen=True)
class _Line:
    """Seconds of a fit by the number of its steps."""

    slope: float
    start: float

    def __call__(self, steps: float) -> float:
        return self.start + self.slope * steps
