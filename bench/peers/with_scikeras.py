"""SciKeras under GridSearchCV, on TensorFlow."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
import keras_models
from parts import Part
from scikeras.wrappers import KerasClassifier, KerasRegressor
from workloads import OF_FIT, Workload

from .grid_search import Candidate, Searched
from .grid_search import run as run_search
from .outcome import Outcome


def run(workload: Workload, part: Part, n_jobs: int = 1) -> Outcome:
    return run_search(_PEER, workload, part, n_jobs)


def _estimator(workload: Workload) -> Any:
    """It tunes declared parameters only, so all of the builder's are declared."""
    builder = getattr(keras_models, workload.builder)
    declared = {n: p.default for n, p in inspect.signature(builder).parameters.items()}
    return (KerasRegressor if workload.regression else KerasClassifier)(
        _seeded(builder, workload.seed),
        epochs=workload.epochs,
        batch_size=workload.batch_size,
        verbose=0,
        **_settings(declared),
    )


def _seeded(builder: Callable[..., Any], seed: int) -> Callable[..., Any]:
    """The builder under a seed, also in other processes.

    With a ``random_state`` of its own SciKeras fits under TensorFlow's deterministic operations,
    which are slower.
    """

    @functools.wraps(builder)
    def build(**arguments: Any) -> Any:
        keras.utils.set_random_seed(seed)
        return builder(**arguments)

    return build


def _settings(candidate: Candidate) -> Candidate:
    return {n if n in OF_FIT else f"model__{n}": value for n, value in candidate.items()}


def _epochs(estimator: Any) -> int:
    return len(next(iter(estimator.history_.values())))


def _steps(estimator: Any) -> int:
    return int(estimator.model_.optimizer.iterations)


_PEER = Searched(_estimator, _epochs, _steps, _settings)
