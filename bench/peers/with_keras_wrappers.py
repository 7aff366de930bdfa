"""Keras's own ``keras.wrappers`` under GridSearchCV."""

from __future__ import annotations

from typing import Any

import keras
import keras_models
from parts import Part
from workloads import Workload, arguments_of

from .grid_search import Candidate, Searched
from .grid_search import run as run_search
from .outcome import Outcome


def run(workload: Workload, part: Part) -> Outcome:
    keras.utils.disable_interactive_logging()  # its predict would draw a bar for each batch
    keras.utils.set_random_seed(workload.seed)
    return run_search(_PEER, workload, part)


def _estimator(workload: Workload) -> Any:
    if workload.regression:
        return keras.wrappers.SKLearnRegressor(_Build(workload.builder, False))
    return keras.wrappers.SKLearnClassifier(_Build(workload.builder, True))


class _Build:
    """A function of X, y and the builder's arguments, as the wrapper calls it."""

    def __init__(self, builder: str, classifies: bool) -> None:
        self._builder, self._classifies = builder, classifies

    def __call__(self, X: Any, y: Any, **arguments: Any) -> Any:
        model = getattr(keras_models, self._builder)(**arguments)
        if not self._classifies:
            return model
        # The wrapper makes one column per class of y, so a single unit has to become two.
        layers = list(model.layers)
        if getattr(layers[-1], "units", None) == 1:
            initializer = layers[-1].kernel_initializer.__class__()
            layers[-1] = keras.layers.Dense(2, "softmax", kernel_initializer=initializer)
            optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(model.optimizer))
            model = keras.Sequential([keras.layers.Input(X.shape[1:]), *layers])
        else:
            optimizer = model.optimizer
        model.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
        return model


def _settings(candidate: Candidate) -> Candidate:
    return {"model_kwargs": arguments_of(candidate)}


def _of_fit(workload: Workload, candidate: Candidate) -> Candidate:
    """``fit_kwargs`` do not survive a clone, so these go through the search's own ``fit``."""
    epochs, batch_size = workload.epochs_of(candidate), workload.batch_size_of(candidate)
    return {"epochs": epochs, "batch_size": batch_size, "verbose": 0}


def _epochs(estimator: Any) -> int:
    return len(estimator.history_.epoch)


def _steps(estimator: Any) -> int:
    return int(estimator.model_.optimizer.iterations)


_PEER = Searched(_estimator, _epochs, _steps, _settings, _of_fit)
