"""Amalthea's own search."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import keras_models
from parts import Part
from workloads import Workload

import amalthea
import amalthea.rendezvous.lockstep  # noqa: F401  imports are not measured

from .grid_search import Searched
from .grid_search import run as run_search
from .outcome import Outcome


def run(workload: Workload, part: Part) -> Outcome:
    bound = workload.max_memory
    with amalthea.lockstep(max_memory=bound) if bound else nullcontext():
        return run_search(_PEER, workload, part)


def _estimator(workload: Workload) -> Any:
    kind = amalthea.KerasRegressor if workload.regression else amalthea.KerasClassifier
    return kind(
        getattr(keras_models, workload.builder),
        epochs=workload.epochs,
        batch_size=workload.batch_size,
        random_state=workload.seed,
    )


def _epochs(estimator: Any) -> int:
    return int(estimator.n_epochs_)


def _steps(estimator: Any) -> int:
    return int(estimator.model_.optimizer.iterations)


# A search does not make the Keras model of a fit, so that asking for it takes time.
_PEER = Searched(_estimator, _epochs, _steps, search=amalthea.GridSearchCV, steps_take_time=True)
