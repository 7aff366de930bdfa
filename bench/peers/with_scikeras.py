"""SciKeras under GridSearchCV, on TensorFlow."""

from __future__ import annotations

import inspect
import time
from typing import Any

import keras_models
from scikeras.wrappers import KerasClassifier, KerasRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from workloads import Workload

from .outcome import Outcome, ScoresAndEpochs, as_grids, of_search


def run(workload: Workload, candidates: list[dict[str, Any]], n_jobs: int = 1) -> Outcome:
    """It tunes declared parameters only, and is no classifier to scikit-learn: folds are given."""
    builder = getattr(keras_models, workload.builder)
    declared = {n: p.default for n, p in inspect.signature(builder).parameters.items()}
    if "optimizer" in declared:  # its own parameter of that name
        declared.pop("optimizer")
    estimator: Any = (KerasRegressor if workload.regression else KerasClassifier)(
        builder,
        epochs=workload.epochs,
        batch_size=workload.batch_size,
        verbose=0,
        random_state=0,
        **{f"model__{name}": default for name, default in declared.items()},
    )
    prefix = ""
    if workload.scaled:
        estimator, prefix = Pipeline([("scale", StandardScaler()), ("model", estimator)]), "model__"
    X, y = workload.data()
    search = GridSearchCV(
        estimator,
        as_grids([_routed(candidate) for candidate in candidates], prefix),
        cv=workload.folds(),
        scoring=ScoresAndEpochs(_epochs),
        refit=False,
        error_score="raise",
        n_jobs=n_jobs,
    )
    started = time.perf_counter()
    search.fit(X, y)
    return of_search(search, time.perf_counter() - started)


def _routed(candidate: dict[str, Any]) -> dict[str, Any]:
    own = ("epochs", "batch_size")
    return {n if n in own else f"model__{n}": value for n, value in candidate.items()}


def _epochs(estimator: Any) -> int:
    return len(estimator.history_["loss"])
