"""Whether a peer did the same work as Amalthea: epochs and folds exactly, scores within noise.

Initial values and the order of the rows differ between peers, and a small network's score with
them. How much, Amalthea's own runs tell, each with another seed: the spread of one candidate's
mean score, pooled over the whole workload. A mean over several candidates is steadier, but fits of
equal width begin with equal weights under one seed, so not more than three of them are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from parts import Part
from workloads import Workload

FLOOR = 0.02  # of accuracy or R squared: rounding of a score over few test rows
ERRORS = 3  # standard errors
INDEPENDENT = 3  # candidates at most that count as independent


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


def work_differences(workload: Workload, part: Part, outcome: dict[str, Any]) -> list[str]:
    """What of the epochs and folds of one outcome is not as the workload asks."""
    asked = [workload.epochs_of(candidate) for candidate in part.candidates_of(workload)]
    n_folds = 1 if workload.twice else part.n_folds
    expected = [[epochs] * n_folds for epochs in asked]
    if outcome["epochs"] != expected:
        return [f"ran epochs {_short(outcome['epochs'])}, asked {_short(expected)}"]
    if not workload.twice and np.shape(outcome["scores"]) != np.shape(expected):
        return [f"scores for {np.shape(outcome['scores'])} candidates and folds"]
    if not np.all(np.isfinite(outcome["scores"])):
        return ["scores that are not finite"]
    return []


def comparisons(part: Part, ours: Sequence[Any], theirs: Sequence[Any]) -> list[Comparison]:
    """Mean and best score beside Amalthea's on the same candidates and folds.

    ``ours`` has the scores of all candidates and folds for each seed, ``theirs`` those of the part.
    """
    same = [np.asarray(run)[list(part.candidates), : part.n_folds] for run in ours]
    spread = spread_between_seeds([np.asarray(run) for run in ours], part.n_folds)
    spread *= (1 / len(ours) + 1 / len(theirs)) ** 0.5
    independent = min(len(part.candidates), INDEPENDENT)
    errors = {"mean": spread / independent**0.5, "best": spread}
    return [
        Comparison(kind, _over(same, score), _over(theirs, score), FLOOR + ERRORS * errors[kind])
        for kind, score in (("mean", np.mean), ("best", best))
    ]


def overall(pairs: Sequence[Comparison]) -> Comparison:
    """The same comparison over several workloads, whose noise is independent: a sharper one."""
    errors = np.array([pair.tolerance - FLOOR for pair in pairs])
    ours, theirs = (float(np.mean([getattr(p, who) for p in pairs])) for who in ("ours", "theirs"))
    tolerance = FLOOR + float(np.sqrt(np.sum(errors**2))) / len(pairs)
    return Comparison(f"{pairs[0].kind} over {len(pairs)} workloads,", ours, theirs, tolerance)


def spread_between_seeds(runs: Sequence[np.ndarray], n_folds: int) -> float:
    """The standard deviation of a candidate's mean over so many folds, between seeds.

    All candidates and folds of the runs are pooled, since a few of them alone may be quiet.
    """
    if len(runs) < 2:
        return _between_folds(runs[0], n_folds)
    usable = runs[0].shape[1] // n_folds * n_folds
    means = [run[:, :usable].reshape(-1, n_folds).mean(axis=1) for run in runs]
    return float(np.sqrt(np.var(means, axis=0, ddof=1).mean()))


def best(run: Any) -> float:
    return float(np.max(np.mean(run, axis=1)))


def _over(runs: Sequence[Any], score: Any) -> float:
    return float(np.mean([score(run) for run in runs]))


def _between_folds(run: np.ndarray, n_folds: int) -> float:
    """Where there is one seed alone: folds differ by their rows too, so this is rather too much."""
    return float(np.sqrt(run.var(axis=1, ddof=1).mean() / n_folds))


def _short(rows: Any) -> str:
    distinct = sorted({number for row in rows for number in row})
    return f"{distinct} in {len(rows)} x {len(rows[0]) if rows else 0} fits"
