"""A grid search over the candidates of a workload, for every peer that scikit-learn can search."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from workloads import Workload

from .outcome import Outcome

Candidate = dict[str, Any]


def searched(
    estimator: Any,
    workload: Workload,
    candidates: Sequence[Candidate],
    count: Callable[[Any], int],
    *,
    search: Any = GridSearchCV,
    n_jobs: int | None = None,
    fit_arguments: Candidate | None = None,
) -> Outcome:
    """Search, and tell what it took.

    Parameters
    ----------
    estimator : estimator
        Stands behind a scaler where the workload says so.
    workload : Workload
    candidates : sequence of dict
        In the estimator's own names.
    count : callable
        The epochs that a fitted estimator has run.
    search : class
        ``GridSearchCV``, scikit-learn's or another of its kind.
    n_jobs : int, optional
    fit_arguments : dict, optional
        What the estimator's ``fit`` is to get.
    """
    prefix = ""
    if workload.scaled:
        estimator, prefix = Pipeline([("scale", StandardScaler()), ("model", estimator)]), "model__"
    X, y = workload.data()
    searching = search(
        estimator,
        [{prefix + name: [value] for name, value in one.items()} for one in candidates],
        cv=workload.folds(),
        scoring=ScoresAndEpochs(count),
        refit=False,
        error_score="raise",
        n_jobs=n_jobs,
    )
    given = {prefix + name: value for name, value in (fit_arguments or {}).items()}
    started = time.perf_counter()
    searching.fit(X, y, **given)
    seconds = time.perf_counter() - started
    results, n_folds = searching.cv_results_, searching.n_splits_
    epochs = np.sum([results[f"split{fold}_test_epochs"] for fold in range(n_folds)])
    scores = [float(score) for score in results["mean_test_score"]]
    return Outcome(seconds, len(scores) * n_folds, int(epochs), scores)


class ScoresAndEpochs:
    """A scorer that also tells how many epochs a fit has run; it can be sent to other processes."""

    def __init__(self, count: Callable[[Any], int]) -> None:
        self._count = count

    def __call__(self, estimator: Any, X: Any, y: Any) -> dict[str, float]:
        inner = estimator[-1] if hasattr(estimator, "steps") else estimator
        return {"score": estimator.score(X, y), "epochs": self._count(inner)}
