"""Whether a peer did the same work as Amalthea: epochs and steps exactly, scores within noise.

Initial values and the order of the rows differ between peers, and a small network's score with
them. How much, Amalthea's own runs tell, each with another seed. Fits of equal width begin with
equal weights under one seed, and candidates differ in how noisy they are: so it is the score of
the very part whose spread between seeds is taken, or that of other parts like it if it is greater.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from parts import Part
from workloads import Workload, workload

FLOOR = 0.02  # of accuracy or R squared: rounding of a score over few test rows
ERRORS = 3  # standard errors


@dataclass(frozen=True)
class Comparison:
    """A score of a peer beside Amalthea's on the same candidates and folds."""

    kind: str
    ours: float
    theirs: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        return abs(self.ours - self.theirs) <= self.tolerance

    def __str__(self) -> str:
        ours = f"Amalthea's {self.ours:.3f} ± {self.tolerance:.3f}"
        return f"{self.kind} score {self.theirs:.3f}, {ours}"


def work_differences(work: Workload, part: Part, outcome: dict[str, Any]) -> list[str]:
    """What of the epochs, steps and folds of one outcome is not as the workload asks."""
    candidates, rows = part.candidates_of(work), training_rows(work.name)[: part.n_folds]
    epochs = [[work.epochs_of(candidate)] * len(rows) for candidate in candidates]
    if outcome["epochs"] != epochs:
        return [f"ran epochs {_short(outcome['epochs'])}, asked {_short(epochs)}"]
    steps = [[_steps(work, candidate, n_rows) for n_rows in rows] for candidate in candidates]
    told = _where_told(outcome["steps"], steps)
    if told != steps:
        return [f"took steps {_short(told)}, asked {_short(steps)}"]
    if np.shape(outcome["scores"]) != np.shape(epochs):
        return [f"scores for {np.shape(outcome['scores'])} candidates and folds"]
    if not np.all(np.isfinite(outcome["scores"])):
        return ["scores that are not finite"]
    return []


@cache
def training_rows(name: str) -> list[int]:
    """How many rows each fold of a workload trains on."""
    work = workload(name)
    if work.twice:
        return [len(work.data()[0])]
    return [len(train) for train, _ in work.folds()]


def _steps(work: Workload, candidate: dict[str, Any], n_rows: int) -> int:
    return work.epochs_of(candidate) * -(-n_rows // work.batch_size_of(candidate))


def _where_told(told: Any, asked: list[list[int]]) -> Any:
    """What a peer told of its steps, with those that were asked for where it could not tell."""
    if np.shape(told) != np.shape(asked):
        return told
    return [
        [there if here is None else here for here, there in zip(*rows, strict=True)]
        for rows in zip(told, asked, strict=True)
    ]


def comparisons(part: Part, ours: Sequence[Any], theirs: Sequence[Any]) -> list[Comparison]:
    """Mean and best score beside Amalthea's on the same candidates and folds.

    ``ours`` has the scores of all candidates and folds for each seed, two of them at least;
    ``theirs`` those of the part.
    """
    runs = np.array(ours)
    same = runs[:, list(part.candidates), : part.n_folds]
    errors = ERRORS * (1 / len(ours) + 1 / len(theirs)) ** 0.5
    return [
        Comparison(
            kind,
            _over(same, score),
            _over(theirs, score),
            FLOOR + errors * noise(runs, part, score),
        )
        for kind, score in (("mean", np.mean), ("best", best))
    ]


def overall(pairs: Sequence[Comparison]) -> Comparison:
    """The same comparison over several workloads, whose noise is independent: a sharper one."""
    errors = np.array([pair.tolerance - FLOOR for pair in pairs])
    ours, theirs = (float(np.mean([getattr(p, who) for p in pairs])) for who in ("ours", "theirs"))
    tolerance = FLOOR + float(np.sqrt(np.sum(errors**2))) / len(pairs)
    return Comparison(f"{pairs[0].kind} over {len(pairs)} workloads,", ours, theirs, tolerance)


def noise(runs: np.ndarray, part: Part, score: Callable[[Any], Any]) -> float:
    """The standard deviation between seeds of a score of so many candidates and folds.

    It is that of the part itself, or of all parts as large if this is greater: a few candidates
    may be noisier than the others, or have been quiet under these few seeds. Independent candidates
    would have the least, and that is known from all of them.
    """
    n_candidates, n_folds = len(part.candidates), part.n_folds
    own = _variance(runs[:, list(part.candidates), :n_folds], score)
    alike = np.mean([_variance(one, score) for one in _alike(runs, n_candidates, n_folds)])
    of_one = np.mean([_variance(one, score) for one in _alike(runs, 1, n_folds)])
    return max(own, float(alike), float(of_one) / n_candidates) ** 0.5


def _alike(runs: np.ndarray, n_candidates: int, n_folds: int) -> list[np.ndarray]:
    """Parts of such a size that have no fit in common, with candidates spread over the grid."""
    apart = runs.shape[1] // n_candidates
    firsts = range(0, runs.shape[2] - n_folds + 1, n_folds)
    return [
        runs[:, place::apart][:, :n_candidates, first : first + n_folds]
        for place in range(apart)
        for first in firsts
    ]


def _variance(runs: np.ndarray, score: Callable[[Any], Any]) -> float:
    return float(np.var([score(run) for run in runs], ddof=1))


def best(run: Any) -> float:
    return float(np.max(np.mean(run, axis=1)))


def _over(runs: Iterable[Any], score: Any) -> float:
    return float(np.mean([score(run) for run in runs]))


def _short(rows: Any) -> str:
    distinct = sorted({number for row in rows for number in row})
    return f"{distinct} in {len(rows)} x {len(rows[0]) if rows else 0} fits"
