"""Keras's own ``keras.wrappers`` under GridSearchCV."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any

import keras
import keras_models
from workloads import Workload, arguments_of

from .grid_search import searched
from .outcome import Outcome


def run(workload: Workload, candidates: list[dict[str, Any]]) -> Outcome:
    """``fit_kwargs`` do not survive a clone, so fit's arguments go through the search's own fit."""

    def build(X: Any, y: Any, **arguments: Any) -> Any:
        model = getattr(keras_models, workload.builder)(**arguments)
        if not workload.regression:  # the wrapper makes one column per class of y
            model.compile(model.optimizer, "categorical_crossentropy", metrics=["accuracy"])
        return model

    wrappers = keras.wrappers
    kind = wrappers.SKLearnRegressor if workload.regression else wrappers.SKLearnClassifier
    estimator: Any = kind(build)
    settings = [{"model_kwargs": arguments_of(candidate)} for candidate in candidates]
    asked = {"epochs": workload.epochs, "batch_size": workload.batch_size, "verbose": 0}
    with redirect_stdout(io.StringIO()):  # its predict shows a bar
        return searched(estimator, workload, settings, _epochs, fit_arguments=asked)


def _epochs(estimator: Any) -> int:
    return len(estimator.history_.epoch)
