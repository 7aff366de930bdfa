"""Amalthea's own search."""

from __future__ import annotations

import time
from typing import Any

import keras_models
from workloads import Workload

import amalthea
import amalthea.rendezvous.lockstep  # noqa: F401  imports are not measured

from .outcome import Outcome, ScoresAndEpochs, as_grids, of_search


def run(workload: Workload, candidates: list[dict[str, Any]]) -> Outcome:
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = workload.data()
    kind = amalthea.KerasRegressor if workload.regression else amalthea.KerasClassifier
    estimator: Any = kind(
        getattr(keras_models, workload.builder),
        epochs=workload.epochs,
        batch_size=workload.batch_size,
        random_state=0,
    )
    prefix = ""
    if workload.scaled:
        estimator, prefix = Pipeline([("scale", StandardScaler()), ("model", estimator)]), "model__"
    search = amalthea.GridSearchCV(
        estimator,
        as_grids(candidates, prefix),
        cv=workload.folds(),
        scoring=ScoresAndEpochs(_epochs),
        refit=False,
        error_score="raise",
    )
    started = time.perf_counter()
    search.fit(X, y)
    return of_search(search, time.perf_counter() - started, programs=search.programs_)


def _epochs(estimator: Any) -> int:
    return int(estimator.n_epochs_)
