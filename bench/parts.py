"""What part of a workload is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from networks import shape_of
from workloads import Fold, Workload

FEWEST = 1  # candidate beside those that pay for what a process does once
FOLDS = 2  # of each at least: the first fit of a new shape costs more than those that follow it


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
    """The fewest candidates and folds from which the whole can be told."""
    return Part(_mixed(workload, among, _fewest(workload, n_jobs)), min(FOLDS, workload.n_folds))


def part_within(
    seconds: float,
    seconds_per_fit: float,
    workload: Workload,
    among: Sequence[int],
    n_jobs: int = 1,
) -> Part:
    """As much of these candidates as takes so long: rather more of them than more folds.

    Folds differ less than candidates in what they cost, once a first fit has been.
    """
    affordable = seconds / max(seconds_per_fit, 1e-6)
    if affordable >= len(among) * workload.n_folds:
        return Part(tuple(among), workload.n_folds)
    fewest = min(FOLDS, workload.n_folds)
    n_folds = max(fewest, min(workload.n_folds, int(affordable // len(among))))
    wanted = max(_fewest(workload, n_jobs), int(affordable // n_folds))
    return Part(_mixed(workload, among, wanted), n_folds)


def spread(n: int, wanted: int) -> tuple[int, ...]:
    """So many of the numbers below ``n``, each in the middle of an equal share."""
    wanted = min(n, wanted)
    return tuple(int((place + 0.5) * n / wanted) for place in range(wanted))


def _fewest(workload: Workload, n_jobs: int) -> int:
    """One more where fits differ in length, so that a line can be laid through their costs."""
    return FEWEST + n_jobs + (len({workload.steps_of(c) for c in workload.candidates}) > 1)


def _mixed(workload: Workload, among: Sequence[int], wanted: int) -> tuple[int, ...]:
    """Candidates evenly spread over the lengths of their fits, their shapes, and the grid.

    The one in the middle comes first, since the first fit is left out of the costs.
    """
    every = workload.candidates

    def kind(number: int) -> tuple[float, str]:
        return workload.steps_of(every[number]), str(shape_of(workload, every[number]))

    by_kind = sorted(among, key=kind)
    chosen = [by_kind[place] for place in spread(len(by_kind), wanted)]
    middle = len(chosen) // 2
    return (chosen[middle], *chosen[:middle], *chosen[middle + 1 :])
