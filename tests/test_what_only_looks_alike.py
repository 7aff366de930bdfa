"""Models that differ in what is easily overlooked get what Keras's own `fit` gives each."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import keras
import numpy as np
import pytest

import amalthea
from amalthea.engine.requests import FitRequest
from amalthea.engine.rows import Rows
from engine_and_keras import (
    COMPILED,
    assert_equal,
    assert_same_history,
    by_keras,
    request_for,
    train,
)
from kinds_of_models import (
    MODELS,
    OPTIMIZERS,
    SEED,
    N,
    data_for,
    seeded_model,
    table,
)

L = keras.layers
O = keras.optimizers  # noqa: E741


def assert_as_keras_each(builds: list[Callable[[], keras.Model]], form: str | None = None) -> None:
    rows = data_for(table)
    models = [seeded_model(build, OPTIMIZERS["Adam"]) for build in builds]
    results = train([request_for(model, rows) for model in models], form)
    for build, model, result in zip(builds, models, results, strict=True):
        theirs = seeded_model(build, OPTIMIZERS["Adam"])
        assert_same_history(result, by_keras(theirs, rows))
        assert_equal(model, theirs)


def test_a_regulariser_set_on_a_variable_counts() -> None:
    def build(factor: float) -> keras.Model:
        model = keras.Sequential([keras.Input((6,)), L.Dense(4), L.Dense(3, "softmax")])
        model.layers[0].kernel.regularizer = keras.regularizers.L2(factor)
        return model

    assert_as_keras_each([lambda: build(0.0), lambda: build(1.0), lambda: build(0.0)])


class CallsTheHost(keras.Layer):
    def __init__(self, by: float) -> None:
        super().__init__(name="host")
        self.by = by

    def host(self, x: Any) -> Any:
        return np.asarray(x) * np.float32(self.by)

    def call(self, x: Any) -> Any:
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        if any(n is None for n in x.shape):
            return x
        return jax.lax.stop_gradient(jax.pure_callback(self.host, shape, x)) + x


def test_programs_that_call_python_are_each_their_own() -> None:
    def build(by: float) -> keras.Model:
        return keras.Sequential([keras.Input((6,)), CallsTheHost(by), L.Dense(3, "softmax")])

    assert_as_keras_each([lambda: build(1.0), lambda: build(3.0)])


SCALE = 1.0


@functools.wraps(keras.activations.relu)
def scaled_relu(x: Any) -> Any:
    return keras.ops.relu(x) * SCALE


def test_a_function_that_looks_like_one_of_keras_is_not_trusted(monkeypatch: Any) -> None:
    def build() -> keras.Model:
        return keras.Sequential([keras.Input((6,)), L.Dense(4, scaled_relu), L.Dense(3, "softmax")])

    for scale in (1.0, 3.0):
        monkeypatch.setattr(sys.modules[__name__], "SCALE", scale)
        assert_as_keras_each([build])


class Counting(keras.metrics.Metric):
    """Counts batches, from a number on; ``forgets`` or not at the end of an epoch."""

    def __init__(self, start: float, forgets: bool = True) -> None:
        super().__init__(name="counting")
        self.start, self.forgets = start, forgets
        self.n = self.add_variable((), "zeros", name="n")
        self.n.assign(start)

    def update_state(self, y: Any, predicted: Any, sample_weight: Any = None) -> None:
        self.n.assign(self.n + 1)

    def result(self) -> Any:
        return self.n + 0.0

    def reset_state(self) -> None:
        if self.forgets:
            self.n.assign(self.start)


@pytest.mark.parametrize("form", [None, "stacked"])
@pytest.mark.parametrize("forgets", [True, False])
def test_metrics_begin_an_epoch_as_they_say(form: str | None, forgets: bool) -> None:
    def model(start: float) -> keras.Model:
        metrics = [Counting(start, forgets)]
        return seeded_model(MODELS["dense"][0], OPTIMIZERS["Adam"], metrics=metrics)

    rows, starts = data_for(table), [0.0, 5.0, 0.0]
    results = train([request_for(model(start), rows) for start in starts], form)
    for start, result in zip(starts, results, strict=True):
        assert_same_history(result, by_keras(model(start), rows))
        assert forgets or "reset_state" in result.reason


def test_weights_for_one_of_several_outputs() -> None:
    def build() -> keras.Model:
        x = keras.Input((6,))
        return keras.Model(x, [L.Dense(3, "softmax", name="c")(x), L.Dense(1, name="v")(x)])

    single = data_for(table)
    weights = np.linspace(0.5, 1.5, N).astype("float32")
    rows = Rows(single.x, [single.y, single.x[:, :1]], [None, weights])
    losses = {"loss": ["sparse_categorical_crossentropy", "mse"], "metrics": None}
    for form in COMPILED:
        models = [seeded_model(build, OPTIMIZERS["Adam"], **losses) for _ in range(2)]
        train([request_for(model, rows) for model in models], form)
        theirs = seeded_model(build, OPTIMIZERS["Adam"], **losses)
        by_keras(theirs, rows)
        for model in models:
            assert_equal(model, theirs)


def test_a_gradient_that_vanishes_by_symmetry_stays_keras_own() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 6)).astype("float32")
    x -= x.mean(axis=0)
    rows = Rows(x, (x[:, :1] - x[:, :1].mean()).astype("float32"))

    def model() -> keras.Model:
        def build() -> keras.Model:
            return keras.Sequential([keras.Input((6,)), L.Dense(1)])

        return seeded_model(build, lambda: O.Adam(0.1), loss="mse", metrics=None)

    ours, theirs = model(), model()
    train([FitRequest(ours, rows, SEED, 20, batch_size=N)])
    order = amalthea.batch_order(N, 20, SEED)
    batches = (rows.take(epoch) for epoch in order)
    theirs.fit(batches, steps_per_epoch=1, epochs=20, verbose=0, shuffle=False)
    assert_equal(ours, theirs)
