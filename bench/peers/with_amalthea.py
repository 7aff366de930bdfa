"""Amalthea's own search."""

from __future__ import annotations

from typing import Any

import keras_models
from workloads import Workload

import amalthea
import amalthea.rendezvous.lockstep  # noqa: F401  imports are not measured

from .grid_search import searched
from .outcome import Outcome


def run(workload: Workload, candidates: list[dict[str, Any]]) -> Outcome:
    kind = amalthea.KerasRegressor if workload.regression else amalthea.KerasClassifier
    estimator = kind(
        getattr(keras_models, workload.builder),
        epochs=workload.epochs,
        batch_size=workload.batch_size,
        random_state=0,
    )
    return searched(estimator, workload, candidates, _epochs, search=amalthea.GridSearchCV)


def _epochs(estimator: Any) -> int:
    return int(estimator.n_epochs_)
