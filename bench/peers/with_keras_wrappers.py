"""Keras's own ``keras.wrappers`` under GridSearchCV."""

from __future__ import annotations

import io
import time
from contextlib import redirect_stdout
from typing import Any

import keras
import keras_models
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from workloads import Workload, arguments_of

from .outcome import Outcome, ScoresAndEpochs, of_search


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
    prefix = ""
    if workload.scaled:
        estimator, prefix = Pipeline([("scale", StandardScaler()), ("model", estimator)]), "model__"
    X, y = workload.data()
    search = GridSearchCV(
        estimator,
        [{f"{prefix}model_kwargs": [arguments_of(candidate)]} for candidate in candidates],
        cv=workload.folds(),
        scoring=ScoresAndEpochs(_epochs),
        refit=False,
        error_score="raise",
    )
    asked = {"epochs": workload.epochs, "batch_size": workload.batch_size, "verbose": 0}
    started = time.perf_counter()
    with redirect_stdout(io.StringIO()):  # its predict shows a bar
        search.fit(X, y, **{prefix + name: value for name, value in asked.items()})
    return of_search(search, time.perf_counter() - started)


def _epochs(estimator: Any) -> int:
    return len(estimator.history_.epoch)
