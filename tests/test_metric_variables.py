"""Metrics have the variables that Keras gives them before the first step is traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from amalthea.engine.beginnings import beginning, create_variables
from amalthea.engine.requests import FitRequest
from amalthea.engine.rows import Rows

L, M = keras.layers, keras.metrics
ONE_HOT = np.eye(3, dtype="float32")[np.arange(20) % 3]


class Own(M.Mean):
    """Makes a variable when it first sees something."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if not hasattr(self, "widths"):
            self.widths = self.add_variable((y_pred.shape[-1],), "zeros", name="widths")
        super().update_state(y_pred, sample_weight)

    def reset_state(self) -> None:
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape))


MEANS: dict[str, Callable[[], dict[str, Any]]] = {
    "none": lambda: {},
    "by a name": lambda: {"metrics": ["accuracy"]},
    "a function": lambda: {"metrics": [keras.losses.mean_squared_error]},
    "several": lambda: {"metrics": ["accuracy", M.TopKCategoricalAccuracy(2), "mae"]},
    "weighted": lambda: {"metrics": ["accuracy"], "weighted_metrics": [M.CategoricalAccuracy()]},
}
OTHERS: dict[str, Callable[[], dict[str, Any]]] = {
    "F1": lambda: {"metrics": [M.F1Score()]},
    "AUC of each label": lambda: {"metrics": ["accuracy", M.AUC(multi_label=True)]},
    "R2": lambda: {"metrics": [M.R2Score()]},
    "of one's own": lambda: {"metrics": [Own()]},
}


def request(compiling: dict[str, Any]) -> FitRequest:
    keras.utils.clear_session()
    model = keras.Sequential([L.Input((4,)), L.Dense(3, "softmax")])
    model.compile("adam", loss="categorical_crossentropy", **compiling)
    return FitRequest(model, Rows(np.ones((20, 4), "float32"), ONE_HOT), 0, 1, batch_size=8)


def variables(model: keras.Model) -> list[Any]:
    return [
        (one.name, one.shape, np.asarray(one.value).tolist()) for one in model.metrics_variables
    ]


@pytest.mark.parametrize("kind", [*MEANS, *OTHERS])
def test_they_are_those_that_keras_makes(kind: str) -> None:
    compiling = {**MEANS, **OTHERS}[kind]
    ours, theirs = request(compiling()), request(compiling())
    begun = beginning(ours, is_told=True)
    create_variables(theirs)
    assert variables(ours.model) == variables(theirs.model)
    assert len(begun.no_metrics) == len(theirs.model.metrics_variables)


@pytest.mark.parametrize("kind", MEANS)
def test_means_are_made_without_a_trace(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(MEANS[kind]())
    monkeypatch.setattr("jax.eval_shape", lambda *_: pytest.fail("traced"))
    beginning(asked, is_told=True)
