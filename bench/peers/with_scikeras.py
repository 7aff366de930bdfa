"""SciKeras under GridSearchCV, on TensorFlow."""

from __future__ import annotations

import inspect
from typing import Any

import keras_models
from scikeras.wrappers import KerasClassifier, KerasRegressor
from workloads import Workload

from .grid_search import searched
from .outcome import Outcome


def run(workload: Workload, candidates: list[dict[str, Any]], n_jobs: int = 1) -> Outcome:
    """It tunes declared parameters only, and is no classifier to scikit-learn: folds are given."""
    builder = getattr(keras_models, workload.builder)
    declared = {n: p.default for n, p in inspect.signature(builder).parameters.items()}
    estimator: Any = (KerasRegressor if workload.regression else KerasClassifier)(
        builder,
        epochs=workload.epochs,
        batch_size=workload.batch_size,
        verbose=0,
        random_state=0,
        **{f"model__{name}": default for name, default in declared.items()},
    )
    settings = [_routed(candidate) for candidate in candidates]
    return searched(estimator, workload, settings, _epochs, n_jobs=n_jobs)


def _routed(candidate: dict[str, Any]) -> dict[str, Any]:
    own = ("epochs", "batch_size")
    return {n if n in own else f"model__{n}": value for n, value in candidate.items()}


def _epochs(estimator: Any) -> int:
    return len(estimator.history_["loss"])
