"""What a whole workload takes, told from the fits of a part of it.

A library may do something once for all networks of one shape, as JAX compiles the operations that
make initial values. So a fit that was left out costs what a later fit of its shape costs, and each
shape that was not met what the first one of a shape costs more. The first fit of each process,
which pays for imports and caches, stands for no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from networks import shape_of
from parts import Part
from workloads import Workload

Rows = Sequence[Sequence[float]]  # a row for each candidate, with a number for each fold


@dataclass(frozen=True)
class Fit:
    """One that was measured: its steps, its seconds, and whether its process had done the like."""

    steps: float
    seconds: float
    is_first: bool  # of its process
    is_new: bool  # the first of its shape there


def durations(outcome: dict[str, Any]) -> Rows:
    """The seconds of each fit, from its beginning and its end."""
    return [[end - begin for begin, end in row] for row in outcome["spans"]]


def fits_of(outcome: dict[str, Any], seconds: Rows, part: Part, workload: Workload) -> list[Fit]:
    """The fits of an outcome in the order in which they began."""
    candidates = part.candidates_of(workload)
    shapes: dict[int, set[Any]] = {}  # that each process has met
    fits = []
    for place, fold in _in_order(outcome["spans"]):
        process = outcome["processes"][place][fold] if outcome["processes"] else 0
        met, shape = shapes.setdefault(process, set()), shape_of(workload, candidates[place])
        steps = workload.steps_of(candidates[place])
        fits.append(Fit(steps, seconds[place][fold], not met, shape not in met))
        met.add(shape)
    return fits


def of_whole(
    measured: float, fits: Sequence[Fit], part: Part, workload: Workload, n_jobs: int = 1
) -> float:
    """What was measured and what the rest would take; several processes share the rest.

    Where there are several, the shapes that were not met are not charged, since nobody knows which
    process would meet them.
    """
    every, done = workload.candidates, set(part.candidates)
    later = _cost_of_later(fits, n_jobs)
    missing = [workload.n_folds - part.n_folds * (n in done) for n in range(len(every))]
    rest = sum(n * later(workload.steps_of(c)) for n, c in zip(missing, every, strict=True))
    if n_jobs == 1:
        rest += len(_shapes(workload, every) - _shapes(workload, part.candidates_of(workload))) * (
            _surcharge(fits, later)
        )
    return measured + rest / n_jobs


def _in_order(spans: Sequence[Sequence[Sequence[float]]]) -> list[tuple[int, int]]:
    places = [(place, fold) for place, row in enumerate(spans) for fold in range(len(row))]
    return sorted(places, key=lambda at: spans[at[0]][at[1]][0])


def _shapes(workload: Workload, candidates: Sequence[dict[str, Any]]) -> set[Any]:
    return {shape_of(workload, candidate) for candidate in candidates}


def _cost_of_later(fits: Sequence[Fit], n_jobs: int) -> _Line:
    """Of several processes all fits count but the first of each: few would be later ones."""
    later = [fit for fit in fits if not fit.is_new] if n_jobs == 1 else []
    later = later or [fit for fit in fits if not fit.is_first] or list(fits)
    return _line([fit.steps for fit in later], [fit.seconds for fit in later])


def _surcharge(fits: Sequence[Fit], later: _Line) -> float:
    """What the first fit of a shape costs more than a later one; nothing if none was measured."""
    more = [fit.seconds - later(fit.steps) for fit in fits if fit.is_new and not fit.is_first]
    return float(np.mean(more)) if more else 0.0


def _line(steps: Sequence[float], seconds: Sequence[float]) -> _Line:
    if len(set(steps)) == 1:
        return _Line(0.0, float(np.mean(seconds)))
    slope, start = np.polyfit(steps, seconds, 1)
    if slope < 0:  # noise: steps cost next to nothing
        return _Line(0.0, float(np.mean(seconds)))
    if start < 0:  # noise: all else costs next to nothing
        return _Line(float(np.sum(seconds) / np.sum(steps)), 0.0)
    return _Line(float(slope), float(start))


@dataclass(frozen=True)
class _Line:
    """Seconds of a fit by the number of its steps."""

    slope: float
    start: float

    def __call__(self, steps: float) -> float:
        return self.start + self.slope * steps
