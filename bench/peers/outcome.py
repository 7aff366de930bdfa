"""What a solver tells of the fits that it was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass
class Outcome:
    """Seconds from the start of the search to its end, and what was reached.

    ``epochs`` are those that were really run, of all fits together; ``scores`` has the mean over
    the folds for each candidate, in the order of the candidates.
    """

    seconds: float
    fits: int
    epochs: int
    scores: list[float]
    more: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def of_search(search: Any, seconds: float, **more: Any) -> Outcome:
    """Of a search of scikit-learn's whose scoring is :func:`scores_and_epochs`."""
    results = search.cv_results_
    n_folds = search.n_splits_
    per_fold = [results[f"split{fold}_test_epochs"] for fold in range(n_folds)]
    scores = [float(score) for score in results["mean_test_score"]]
    fits = len(scores) * n_folds
    return Outcome(seconds, fits, int(np.sum(per_fold)), scores, more)


def as_grids(candidates: Sequence[dict[str, Any]], prefix: str = "") -> list[dict[str, list[Any]]]:
    """Candidates as a ``param_grid`` of single points."""
    return [
        {prefix + name: [value] for name, value in candidate.items()} for candidate in candidates
    ]


class ScoresAndEpochs:
    """A scorer that also tells how many epochs a fit has run; it can be sent to other processes."""

    def __init__(self, count: Any) -> None:
        self._count = count

    def __call__(self, estimator: Any, X: Any, y: Any) -> dict[str, float]:
        inner = estimator[-1] if hasattr(estimator, "steps") else estimator
        return {"score": estimator.score(X, y), "epochs": self._count(inner)}
