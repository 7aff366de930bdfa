"""One fit at a time against Keras's own `fit`: weights, optimizer state, history, predictions.

On the documented seed and batch order, with a ragged last batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import keras
import numpy as np
import pytest

import amalthea
from amalthea.engine.forms import Engine, forget_programs
from amalthea.engine.requests import FitRequest, PredictRequest
from amalthea.engine.rows import Rows
from amalthea.errors import KerasFitWarning
from engine_and_keras import (
    BATCH,
    ENGINE,
    EPOCHS,
    ON_CPU,
    KerasAlone,
    assert_equal,
    assert_same_history,
    by_engine,
    by_keras,
    request_for,
    train,
    trained,
    values_of,
)
from kinds_of_models import (
    CALLBACKS,
    MODELS,
    OPTIMIZERS,
    SEED,
    N,
    Shift,
    chain,
    cut,
    data_for,
    seeded_model,
    table,
)

L = keras.layers
O = keras.optimizers  # noqa: E741


def test_keras_fits_a_model_with_its_first_values_again_as_it_fits_a_new_one() -> None:
    """So that other tests need not make it anew."""
    rows, alone = data_for(table), KerasAlone()

    def make() -> keras.Model:
        build = lambda: chain(keras.Input((6,)), L.Dense(8), L.Dropout(0.4))  # noqa: E731
        return seeded_model(build, OPTIMIZERS["moving average"])

    new = make()
    first = by_keras(new, rows)
    by_keras(alone.model(make), cut(rows, 20), SEED + 1, epochs=1)
    theirs = alone.model(make)
    assert by_keras(theirs, rows).history == first.history
    for group in ("variables", "optimizer_variables"):
        pairs = zip(values_of(new, group), values_of(theirs, group), strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", MODELS)
def test_every_kind_of_model_trains_as_keras_trains_it(kind: str) -> None:
    build, make = MODELS[kind]
    rows, validation = data_for(make, weighted=True), data_for(make)
    # A key bias of attention has no gradient but rounding, of which Adam makes whole steps, and
    # XLA for accelerators tries out which products are fast each time that it compiles.
    optimizer = OPTIMIZERS["Adam" if ON_CPU or kind != "attention" else "SGD"]
    ours, theirs = seeded_model(build, optimizer), seeded_model(build, optimizer)
    result = by_engine(ours, rows, validation=validation)
    history = by_keras(theirs, rows, validation_data=(validation.x, validation.y))
    assert result.form in ("loop", "steps")
    assert_same_history(result, history)
    assert_equal(ours, theirs)
    predictions = ENGINE.predict([PredictRequest(ours, rows.x, batch_size=25)])[0]
    np.testing.assert_allclose(
        predictions, theirs.predict(rows.x, batch_size=25, verbose=0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_steps_as_in_keras(name: str) -> None:
    rows, build = data_for(table), MODELS["dense"][0]
    ours, theirs = (seeded_model(build, OPTIMIZERS[name]) for _ in range(2))
    assert_same_history(by_engine(ours, rows), by_keras(theirs, rows))
    assert_equal(ours, theirs)


KEYS = [jax.random.key(5), jax.random.key(6)]


class Shaken(L.Layer):
    """Draws under a key that it holds."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def call(self, x: Any) -> Any:
        return x + 0.1 * jax.random.normal(KEYS[self._number], x.shape[1:])


@pytest.mark.parametrize("form", ["loop", "stacked"])
def test_keys_that_layers_hold_are_constants_of_their_programs(form: str) -> None:
    rows = data_for(table)
    models = [seeded_model(lambda n=n: chain(Shaken(n)), OPTIMIZERS["Adam"]) for n in (0, 0, 1)]
    train([request_for(model, rows) for model in models], form)
    for model, number in zip(models, (0, 0, 1), strict=True):
        theirs = seeded_model(lambda n=number: chain(Shaken(n)), OPTIMIZERS["Adam"])
        by_keras(theirs, rows)
        assert_equal(model, theirs)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_as_in_keras(policy: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        rows, build = data_for(table), MODELS["dense"][0]
        ours, theirs = (seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(2))
        assert_same_history(by_engine(ours, rows), by_keras(theirs, rows))
        assert_equal(ours, theirs)
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_see_and_do_what_they_do_in_keras(name: str) -> None:
    rows, validation, build = data_for(table), data_for(table), MODELS["batch normalisation"][0]
    optimizer = OPTIMIZERS["moving average" if "averages" in name else "Adam"]
    ours, theirs = (seeded_model(build, optimizer) for _ in range(2))
    first, second = CALLBACKS[name](), CALLBACKS[name]()
    result = by_engine(ours, rows, validation=validation, callbacks=[first])
    history = by_keras(
        theirs, rows, validation_data=(validation.x, validation.y), callbacks=[second]
    )
    assert_same_history(result, history)
    assert_equal(ours, theirs)


def test_metrics_with_state_and_weights_are_those_of_keras() -> None:
    rows = data_for(table, weighted=True)
    rows = Rows(rows.x, np.eye(3, dtype="float32")[rows.y], rows.sample_weight)
    compiling = {
        "loss": keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        "weighted_metrics": ["accuracy"],
    }
    ours, theirs = (
        seeded_model(
            MODELS["dropout"][0],
            OPTIMIZERS["Adam"],
            **{**compiling, "metrics": [keras.metrics.AUC(name="auc"), keras.metrics.F1Score()]},
        )
        for _ in range(2)
    )
    assert_same_history(by_engine(ours, rows), by_keras(theirs, rows))
    assert_equal(ours, theirs)


def test_several_outputs_train_as_in_keras() -> None:
    def build() -> keras.Model:
        x = keras.Input((6,))
        hidden = L.Dense(5, "relu")(x)
        return keras.Model(
            x, [L.Dense(3, "softmax", name="c")(hidden), L.Dense(1, name="v")(hidden)]
        )

    compiling = {
        "loss": ["sparse_categorical_crossentropy", "mse"],
        "metrics": [["accuracy"], ["mae"]],
        "loss_weights": [1.0, 0.3],
    }
    single = data_for(table)
    y = [single.y, single.x[:, :1] * 2]
    weights = np.linspace(0.5, 1.5, N).astype("float32")
    rows = Rows(single.x, y, [weights, weights])
    ours, theirs = (seeded_model(build, OPTIMIZERS["Adam"], **compiling) for _ in range(2))
    assert_same_history(by_engine(ours, rows), by_keras(theirs, rows))
    assert_equal(ours, theirs)


@pytest.mark.parametrize("n_rows", [10, 16, 32, 33])
def test_any_number_of_rows_makes_the_right_batches(n_rows: int) -> None:
    whole = data_for(table)
    rows = Rows(whole.x[:n_rows], whole.y[:n_rows])
    ours, theirs = (seeded_model(MODELS["dropout"][0], OPTIMIZERS["SGD"]) for _ in range(2))
    assert_same_history(by_engine(ours, rows), by_keras(theirs, rows))
    assert_equal(ours, theirs)


def test_validation_every_second_epoch() -> None:
    rows, build = data_for(table), MODELS["dense"][0]
    ours = seeded_model(build, OPTIMIZERS["Adam"])
    result = by_engine(ours, rows, validation=rows, validation_freq=2)
    assert len(result.history["val_loss"]) == 1 and len(result.history["loss"]) == EPOCHS


def test_equal_models_share_a_program_and_others_do_not() -> None:
    forget_programs()
    engine, rows = Engine(form="loop"), data_for(table)

    def compiled_by(build: Callable[[], keras.Model], optimizer: str = "Adam") -> int:
        before = engine.compilations
        model = seeded_model(build, OPTIMIZERS[optimizer])
        trained(engine, FitRequest(model, rows, SEED, EPOCHS, batch_size=BATCH))
        return engine.compilations - before

    dense = MODELS["dense"][0]
    assert compiled_by(dense) == 1
    assert compiled_by(dense) == 0  # the same, under other automatic names
    assert compiled_by(dense, "SGD") == 1
    assert compiled_by(lambda: chain(L.Dense(9, "relu"))) == 1
    assert compiled_by(lambda: chain(L.Dense(8, "tanh"))) == 1
    # Equal configs, but another number in the layer.
    assert compiled_by(lambda: chain(Shift(0.5), L.Dense(4))) == 1
    assert compiled_by(lambda: chain(Shift(0.5), L.Dense(4))) == 0
    assert compiled_by(lambda: chain(Shift(0.25), L.Dense(4))) == 1
    # A learning rate is a variable of the optimizer, and no part of the program.
    model = seeded_model(dense, lambda: O.Adam(0.5, amsgrad=True))
    before = engine.compilations
    trained(engine, FitRequest(model, rows, SEED, EPOCHS, batch_size=BATCH))
    assert engine.compilations == before


class EveryBatch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        pass


class OwnStep(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = L.Dense(3, "softmax")

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def train_step(self, state: Any, data: Any) -> Any:
        return super().train_step(state, data)


@pytest.mark.parametrize(
    ("build", "more", "reason"),
    [
        (OwnStep, {}, "train_step of its own"),
        (MODELS["dense"][0], {"callbacks": [EveryBatch()]}, "follows every batch"),
        (
            MODELS["dense"][0],
            {
                "callbacks": [
                    keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: None)
                ]
            },
            "follows every batch",
        ),
        (MODELS["dense"][0], {"verbose": 2}, "progress"),
    ],
)
def test_what_needs_keras_own_loop_gets_it_and_the_reason_is_kept(
    build: Any, more: Any, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = data_for(table)
    model = seeded_model(build, OPTIMIZERS["Adam"])
    result = trained(Engine(), FitRequest(model, rows, SEED, 1, batch_size=BATCH, **more))
    assert result.form == "keras" and reason in str(result.reason)
    assert len(result.history["loss"]) == 1


def test_a_model_compiled_to_run_eagerly_runs_eagerly() -> None:
    model = seeded_model(MODELS["dense"][0], OPTIMIZERS["SGD"], run_eagerly=True)
    result = trained(Engine(), FitRequest(model, data_for(table), SEED, 1, batch_size=BATCH))
    assert result.form == "keras" and "eagerly" in str(result.reason)


class OwnFunction(keras.Sequential):
    def make_train_function(self, force: bool = False) -> None:
        super().make_train_function(force)


class Asks(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen = dict(self.params)


def test_callbacks_are_told_what_keras_tells_them() -> None:
    rows, ours, theirs = data_for(table), Asks(), Asks()
    by_engine(seeded_model(MODELS["dense"][0], OPTIMIZERS["SGD"]), rows, callbacks=[ours])
    by_keras(seeded_model(MODELS["dense"][0], OPTIMIZERS["SGD"]), rows, callbacks=[theirs])
    assert ours.seen == theirs.seen


def test_an_estimator_tells_how_it_was_trained() -> None:
    rows = data_for(table)
    compiled = amalthea.KerasClassifier(MODELS["dense"][0]).fit(rows.x, rows.y)
    alone = "loop" if ON_CPU else "steps"
    assert (compiled.form_, compiled.form_reason_) == (alone, None)
    own = amalthea.KerasClassifier(lambda: OwnFunction([L.Dense(3, "softmax")])).fit(rows.x, rows.y)
    assert own.form_ == "keras" and "make_train_function" in own.form_reason_


def test_another_precision_of_matrix_products_is_another_program() -> None:
    engine, rows = Engine(), data_for(table)

    def fit() -> None:
        model = seeded_model(MODELS["dense"][0], OPTIMIZERS["SGD"])
        trained(engine, FitRequest(model, rows, SEED, 1, batch_size=BATCH))

    fit()
    before = engine.compilations
    with jax.default_matmul_precision("float32"):
        fit()
    assert engine.compilations == before + 1
    fit()
    assert engine.compilations == before + 1


def test_the_engine_alone_keeps_to_the_bit() -> None:
    """What a fit outside of any search uses."""
    rows, build = data_for(table), MODELS["batch normalisation"][0]
    ours, theirs = (seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(2))
    trained(Engine(to_the_bit=True), request_for(ours, rows))
    by_keras(theirs, rows)
    for group in ("variables", "optimizer_variables"):
        for one, other in zip(values_of(ours, group), values_of(theirs, group), strict=True):
            np.testing.assert_array_equal(one, other)


def test_keras_own_fit_can_be_asked_for() -> None:
    rows, build = data_for(table), MODELS["dropout"][0]
    ours, theirs = (seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(2))
    (result,) = train([request_for(ours, rows)], "keras")
    assert result.form == "keras"
    assert_same_history(result, by_keras(theirs, rows))
    assert_equal(ours, theirs)


def test_a_reason_is_told_once_and_kept() -> None:
    rows = data_for(table)
    models = [seeded_model(OwnStep, OPTIMIZERS["Adam"]) for _ in range(3)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = train([request_for(model, rows, epochs=1) for model in models])
    (told,) = [w for w in caught if issubclass(w.category, KerasFitWarning)]
    assert "OwnStep has a train_step of its own" in str(told.message)
    assert all("train_step of its own" in str(result.reason) for result in results)
