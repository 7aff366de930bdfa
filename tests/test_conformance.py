"""Every form against Keras's own `fit`: weights, optimizer state, history, predictions.

Keras is called by the test itself, on the documented seed and batch order, with a ragged last
batch. Both compile the same functions; the tolerance is for another order of sums.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.extend
import keras
import numpy as np
import pytest
from jax.experimental import io_callback
from jax.interpreters import mlir

import amalthea
from amalthea.engine.forms import Engine, forget_programs
from amalthea.engine.lifting.families import can_be_woven
from amalthea.engine.obstacles import why_not_compiled
from amalthea.engine.requests import FitRequest, PredictRequest
from amalthea.engine.rows import Rows
from amalthea.engine.steadiness import is_steady
from amalthea.engine.structures import Structures
from amalthea.errors import KerasFitWarning

L = keras.layers
O = keras.optimizers  # noqa: E741
N, EPOCHS, BATCH, SEED = 50, 3, 16, 3
ENGINE = Engine()


def table(rng: np.random.Generator) -> Any:
    return rng.normal(size=(N, 6)).astype("float32")


def pictures(rng: np.random.Generator) -> Any:
    return rng.normal(size=(N, 8, 8, 2)).astype("float32")


def series(rng: np.random.Generator) -> Any:
    return rng.normal(size=(N, 5, 4)).astype("float32")


def words(rng: np.random.Generator) -> Any:
    return rng.integers(0, 12, size=(N, 5)).astype("int32")


def two(rng: np.random.Generator) -> Any:
    return {"a": table(rng), "b": rng.normal(size=(N, 3)).astype("float32")}


def chain(*layers: Any) -> keras.Model:
    return keras.Sequential([*layers, L.Dense(3, "softmax")])


class Shift(keras.Layer):
    """A custom layer with an attribute that its config does not tell."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def call(self, x: Any) -> Any:
        return x + self.by


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.normal, self.last = L.Dense(5), L.BatchNormalization(), L.Dense(3)

    def call(self, x: Any, training: bool = False) -> Any:
        self.add_loss(keras.ops.mean(x**2) * 0.01)
        return keras.ops.softmax(self.last(self.normal(self.first(x), training=training)))


def residual() -> keras.Model:
    x = keras.Input((6,))
    shared = L.Dense(6, "relu")
    return keras.Model(x, L.Dense(3, "softmax")(L.Add()([shared(shared(x)), x])))


def attention() -> keras.Model:
    x = keras.Input((5, 4))
    y = L.MultiHeadAttention(2, 3, dropout=0.1)(x, x)
    y = L.LayerNormalization()(L.Add()([x, y]))
    return keras.Model(x, L.Dense(3, "softmax")(L.GlobalAveragePooling1D()(y)))


def several_inputs() -> keras.Model:
    a, b = keras.Input((6,), name="a"), keras.Input((3,), name="b")
    return keras.Model([a, b], L.Dense(3, "softmax")(L.Concatenate()([L.Dense(4)(a), b])))


MODELS: dict[str, tuple[Callable[[], keras.Model], Callable[..., Any]]] = {
    "dense": (lambda: chain(L.Dense(8, "relu")), table),
    "dropout": (lambda: chain(L.Dense(8), L.Dropout(0.4), L.GaussianNoise(0.1)), table),
    "batch normalisation": (lambda: chain(L.Dense(8), L.BatchNormalization()), table),
    "layer normalisation": (lambda: chain(L.LayerNormalization(), L.Dense(8, "gelu")), table),
    "regularisers and constraints": (
        lambda: chain(
            L.Dense(
                8,
                kernel_regularizer="l1l2",
                activity_regularizer="l2",
                kernel_constraint=keras.constraints.MaxNorm(0.5),
            )
        ),
        table,
    ),
    "convolution": (lambda: chain(L.Conv2D(3, 3), L.MaxPooling2D(), L.Flatten()), pictures),
    "embedding": (lambda: chain(L.Embedding(12, 4), L.Flatten()), words),
    "masked lstm": (lambda: chain(L.Embedding(12, 4, mask_zero=True), L.LSTM(4)), words),
    "bidirectional gru": (lambda: chain(L.Bidirectional(L.GRU(3, dropout=0.2))), series),
    "attention": (attention, series),
    "residual with a shared layer": (residual, table),
    "several inputs": (several_inputs, two),
    "custom layer": (lambda: chain(Shift(0.5), L.Dense(4)), table),
    "preprocessing": (lambda: chain(L.Rescaling(0.5), L.UnitNormalization(), L.Dense(4)), table),
    "subclassed, with a loss of its own": (Subclassed, table),
}
ON_CPU = jax.default_backend() == "cpu"
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: O.SGD(0.1, momentum=0.9, nesterov=True),
    "RMSprop": lambda: O.RMSprop(0.01),
    "Adagrad": lambda: O.Adagrad(0.1),
    "Adadelta": lambda: O.Adadelta(1.0),
    "Adam": lambda: O.Adam(0.01, amsgrad=True),
    "AdamW": lambda: O.AdamW(0.01, weight_decay=0.1),
    "Adamax": lambda: O.Adamax(0.01),
    "Nadam": lambda: O.Nadam(0.01),
    "Ftrl": lambda: O.Ftrl(0.05),
    "Lion": lambda: O.Lion(0.001),
    "Adafactor": lambda: O.Adafactor(0.01),
    "schedule": lambda: O.SGD(O.schedules.CosineDecay(0.1, 10)),
    "moving average": lambda: O.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "clipping": lambda: O.Adam(0.01, global_clipnorm=0.1),
    "accumulation": lambda: O.Adam(0.01, gradient_accumulation_steps=2),
    "loss scaling": lambda: O.LossScaleOptimizer(O.Adam(0.01)),
}


def seeded_model(build: Callable[[], keras.Model], optimizer: Any, **compiling: Any) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    model = build()
    compiling.setdefault("loss", "sparse_categorical_crossentropy")
    compiling.setdefault("metrics", ["accuracy"])
    model.compile(optimizer(), **compiling)
    return model


def by_keras(
    model: keras.Model,
    rows: Rows,
    seed: int = SEED,
    epochs: int = EPOCHS,
    batch_size: int = BATCH,
    **fit: Any,
) -> Any:
    order = amalthea.batch_order(len(rows), epochs, seed)

    def batches() -> Any:
        for epoch in order:
            for start in range(0, len(rows), batch_size):
                yield rows.take(epoch[start : start + batch_size])

    steps = -(-len(rows) // batch_size)
    return model.fit(
        batches(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False, **fit
    )


def trained(engine: Engine, request: FitRequest) -> Any:
    (result,) = engine.train([request])
    if isinstance(result, Exception):
        raise result
    return result


def by_engine(model: keras.Model, rows: Rows, **more: Any) -> Any:
    request = FitRequest(model, rows, SEED, EPOCHS, batch_size=BATCH, **more)
    assert why_not_compiled(request) is None
    return trained(ENGINE, request)


def assert_equal(ours: keras.Model, theirs: keras.Model, rtol: float = 1e-5) -> None:
    for group in ("variables", "optimizer_variables"):
        pairs = zip(_values(ours, group), _values(theirs, group), strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-6)


def _values(model: keras.Model, group: str) -> list[np.ndarray]:
    variables = model.variables if group == "variables" else model.optimizer.variables
    return [np.asarray(keras.ops.convert_to_numpy(v.value), dtype="float64") for v in variables]


def assert_same_history(ours: Any, theirs: Any) -> None:
    assert ours.epochs == theirs.epoch
    assert ours.history.keys() == theirs.history.keys()
    for name, values in theirs.history.items():
        np.testing.assert_allclose(ours.history[name], values, rtol=1e-5, atol=1e-7)


def data_for(make: Callable[..., Any], weighted: bool = False) -> Rows:
    rng = np.random.default_rng(0)
    x, y = make(rng), rng.integers(0, 3, size=N).astype("int32")
    return Rows(x, y, rng.uniform(0.1, 2, size=N).astype("float32") if weighted else None)


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


CALLBACKS: dict[str, Callable[[], Any]] = {
    "early stopping": lambda: keras.callbacks.EarlyStopping(
        "val_loss", patience=0, min_delta=0.5, restore_best_weights=True
    ),
    "plateau": lambda: keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=10.0),
    "schedule": lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
    "swapped averages": lambda: keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
}


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


# --- cohorts -------------------------------------------------------------------------------------
# Every form gives Keras's numbers, whoever trains beside. The models and data are those above.

COMPILED = ["stacked", "loop", "steps"]
# Older compilers round a step alone, or in a stack, otherwise than in Keras's own program. Those
# for accelerators round it otherwise in a loop too.
to_the_bit_in_every_form = ON_CPU and jax.__version_info__ >= (0, 8)
EXACT_FORM = "loop" if ON_CPU else "steps"


def reordered(rows: Rows) -> Rows:
    """Other rows of the same shapes."""
    backwards = np.arange(len(rows))[::-1]
    x, y, *weights = rows.take(backwards)
    return Rows(x, y, *weights)


def cut(rows: Rows, n_rows: int) -> Rows:
    x, y, *weights = rows.take(np.arange(n_rows))
    return Rows(x, y, *weights)


def request_for(model: keras.Model, rows: Rows, seed: int = SEED, **more: Any) -> FitRequest:
    return FitRequest(model, rows, seed, more.pop("epochs", EPOCHS), batch_size=BATCH, **more)


def train(requests: list[FitRequest], form: str | None = None) -> list[Any]:
    results = Engine(form=form).train(requests)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def faster(model: keras.Model) -> keras.Model:
    model.optimizer.learning_rate = 0.03
    return model


@pytest.mark.parametrize("form", COMPILED)
@pytest.mark.parametrize("kind", MODELS)
def test_every_form_trains_as_keras_whoever_trains_beside(kind: str, form: str) -> None:
    build, make = MODELS[kind]
    rows, held, adam = data_for(make, weighted=True), data_for(make), OPTIMIZERS["Adam"]
    ours, other, same = (seeded_model(build, adam) for _ in range(3))
    results = train(
        [
            request_for(faster(other), reordered(rows), SEED + 1, validation=held),
            request_for(ours, rows, validation=held),
            request_for(same, rows, validation=held),
        ],
        form,
    )
    assert {result.form for result in results} == {form}
    theirs = seeded_model(build, adam)
    history = by_keras(theirs, rows, validation_data=(held.x, held.y))
    other_of_keras = faster(seeded_model(build, adam))
    by_keras(other_of_keras, reordered(rows), SEED + 1, validation_data=(held.x, held.y))
    if form == EXACT_FORM or is_steady(ours) or to_the_bit_in_every_form:
        for model, result in ((ours, results[1]), (same, results[2])):
            assert_same_history(result, history)
            assert_equal(model, theirs)
        assert_equal(other, other_of_keras)
    else:  # a weight without a gradient is all rounding: judged by the function that it gives
        for model in (ours, same):
            predicted = [m.predict(rows.x, batch_size=25, verbose=0) for m in (model, theirs)]
            np.testing.assert_allclose(*predicted, rtol=1e-3 if ON_CPU else 1e-2, atol=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_steps_as_in_keras_in_a_stack(name: str) -> None:
    rows, build = data_for(table), MODELS["dense"][0]
    models = [seeded_model(build, OPTIMIZERS[name]) for _ in range(3)]
    requests = [request_for(model, rows, SEED + n) for n, model in enumerate(models)]
    results = train(requests, "stacked")
    for n, (model, result) in enumerate(zip(models, results, strict=True)):
        theirs = seeded_model(build, OPTIMIZERS[name])
        assert_same_history(result, by_keras(theirs, rows, SEED + n))
        assert_equal(model, theirs)


@pytest.mark.parametrize("form", COMPILED)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_in_every_form(policy: str, form: str) -> None:
    if not ON_CPU and form == "stacked":
        pytest.skip("accelerators round 16 bits otherwise in a stack, and the engine avoids it")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        rows, build = data_for(table), MODELS["dense"][0]
        models = [seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(2)]
        train([request_for(model, rows, SEED + n) for n, model in enumerate(models)], form)
        for n, model in enumerate(models):
            theirs = seeded_model(build, OPTIMIZERS["Adam"])
            by_keras(theirs, rows, SEED + n)
            assert_equal(model, theirs)
    finally:
        keras.config.set_dtype_policy(before)


_alone_p = jax.extend.core.Primitive("doubled_one_by_one")
_alone_p.def_abstract_eval(lambda x: x)
mlir.register_lowering(_alone_p, mlir.lower_fun(lambda x: 2 * x, multiple_results=False))


@jax.custom_vjp
def doubled(x: Any) -> Any:
    """By an operation that JAX cannot map, as those of cuDNN."""
    return _alone_p.bind(x)


doubled.defvjp(lambda x: (doubled(x), None), lambda _, gradient: (2 * gradient,))


@pytest.mark.parametrize("form", [None, "stacked"])
def test_what_cannot_be_mapped_is_trained_one_by_one(
    form: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = data_for(table)

    def build() -> keras.Model:
        return chain(L.Dense(4, activation=doubled))

    # As an LSTM of cuDNN is, whose layer is one of Keras's.
    of_fit = Structures.of_fit

    def steady(*given: Any, **named: Any) -> Any:
        structure, state = of_fit(*given, **named)
        assert structure.train.work(BATCH, BATCH).one_by_one
        assert not can_be_woven(structure)
        return replace(structure, steady=True), state

    monkeypatch.setattr(Structures, "of_fit", steady)
    monkeypatch.setattr("amalthea.engine.parts.may_stack", lambda structure, member: True)
    models = [seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(3)]
    requests = [request_for(model, rows, SEED + n) for n, model in enumerate(models)]
    results = train(requests, form)
    assert {result.form for result in results} == {"loop"}
    for n, model in enumerate(models):
        theirs = seeded_model(build, OPTIMIZERS["Adam"])
        by_keras(theirs, rows, SEED + n)
        assert_equal(model, theirs)
    predicted = Engine().predict([PredictRequest(model, rows.x, batch_size=25) for model in models])
    for model, ours in zip(models, predicted, strict=True):
        np.testing.assert_allclose(ours, model.predict(rows.x, verbose=0), rtol=1e-5, atol=1e-6)


def ordered(x: Any) -> Any:
    """What JAX refuses to map by another error than that it is not implemented."""
    like = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return x + io_callback(np.asarray, like, jax.lax.stop_gradient(x), ordered=True)


REFUSING: dict[str, Any] = {
    "no inputs": lambda x: jax.lax.platform_dependent(x, cpu=lambda x: x, default=lambda x: x),
    "an ordered callback": ordered,
}


@pytest.mark.parametrize("kind", REFUSING)
def test_whatever_a_model_calls_is_trained(kind: str) -> None:
    rows = data_for(table)

    def build() -> keras.Model:
        return chain(L.Dense(4, activation=REFUSING[kind]))

    ours, theirs = (seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(2))
    train([request_for(ours, rows)])
    by_keras(theirs, rows)
    assert_equal(ours, theirs)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype:UserWarning")  # of the metric
def test_a_metric_that_takes_a_diagonal_is_computed() -> None:
    rows = data_for(table)
    metrics = lambda: [keras.metrics.OneHotMeanIoU(3, name="iou")]  # noqa: E731
    hot = Rows(rows.x, np.eye(3, dtype="float32")[rows.y])
    ours, theirs = (
        seeded_model(
            MODELS["dense"][0],
            OPTIMIZERS["Adam"],
            loss="categorical_crossentropy",
            metrics=metrics(),
        )
        for _ in range(2)
    )
    (result,) = train([request_for(ours, hot)])
    assert_same_history(result, by_keras(theirs, hot))


@pytest.mark.parametrize(
    ("kind", "policy"), [("batch normalisation", "float32"), ("dense", "mixed_bfloat16")]
)
def test_what_rounding_changes_is_trained_step_by_step_on_accelerators(
    kind: str, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_programs()
    monkeypatch.setattr("amalthea.engine.choice.jax.default_backend", lambda: "gpu")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        rows, (build, _) = data_for(table), MODELS[kind]
        models = [seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(2)]
        results = train([request_for(model, rows) for model in models])
        assert {result.form for result in results} == {"steps"}
    finally:
        keras.config.set_dtype_policy(before)
        forget_programs()


def test_folds_of_unequal_size_train_as_in_keras() -> None:
    rows, build = data_for(table), MODELS["dropout"][0]
    sizes = [50, 49, 50, 48, 10, 16, 32]
    models = [seeded_model(build, OPTIMIZERS["Adam"]) for _ in sizes]
    pairs = zip(models, sizes, strict=True)
    results = train([request_for(model, cut(rows, size)) for model, size in pairs], "stacked")
    for model, size, result in zip(models, sizes, results, strict=True):
        theirs = seeded_model(build, OPTIMIZERS["Adam"])
        assert_same_history(result, by_keras(theirs, cut(rows, size)))
        assert_equal(model, theirs)


def test_a_cohort_repeats_itself_to_the_bit() -> None:
    rows, build = data_for(table), MODELS["dropout"][0]

    def weights() -> list[np.ndarray]:
        models = [seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(5)]
        train([request_for(model, rows, SEED + n) for n, model in enumerate(models)], "stacked")
        return [array for model in models for array in _values(model, "variables")]

    for one, again in zip(weights(), weights(), strict=True):
        assert np.array_equal(one, again)


def test_fits_of_different_lengths_leave_the_cohort_when_they_are_done() -> None:
    rows, build = data_for(table), MODELS["dense"][0]
    lengths = [1, 5, 2, 3, 0]
    models = [seeded_model(build, OPTIMIZERS["Adam"]) for _ in lengths]
    pairs = zip(models, lengths, strict=True)
    results = train([request_for(m, rows, epochs=length) for m, length in pairs], "stacked")
    for model, length, result in zip(models, lengths, results, strict=True):
        theirs = seeded_model(build, OPTIMIZERS["Adam"])
        assert result.epochs == list(range(length))
        if length:
            assert_same_history(result, by_keras(theirs, rows, epochs=length))
            assert_equal(model, theirs)


@pytest.mark.parametrize("form", ["stacked", "loop"])
def test_more_epochs_than_one_call_of_a_program_takes(form: str) -> None:
    rows, held, build = data_for(table), cut(data_for(table), 13), MODELS["dropout"][0]
    gently = lambda: O.SGD(1e-3)  # noqa: E731  that roundings stay small for so long
    lengths = [35, 9, 33, 34]  # of different seeds: each lane has an order of its own
    models = [seeded_model(build, gently) for _ in lengths]
    requests = [
        request_for(model, rows, SEED + n, epochs=length, validation=held)
        for n, (model, length) in enumerate(zip(models, lengths, strict=True))
    ]
    results = train(requests, form)
    for n, (model, length, result) in enumerate(zip(models, lengths, results, strict=True)):
        theirs = seeded_model(build, gently)
        assert result.epochs == list(range(length))
        of_held = (held.x, held.y)
        history = by_keras(theirs, rows, SEED + n, epochs=length, validation_data=of_held)
        assert_same_history(result, history)
        assert_equal(model, theirs)


def test_the_rest_of_a_cohort_moves_into_a_smaller_program(monkeypatch: Any) -> None:
    monkeypatch.setattr("amalthea.engine.choice._COMPILING", 0.0)  # moving is worth it at once
    # A bias before the normalisation would have no gradient but rounding.
    rows, build = (
        data_for(table),
        lambda: chain(L.Dense(8, use_bias=False), L.BatchNormalization()),
    )
    models = [seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(6)]
    lengths = [1, 1, 4, 1, 3, 2]
    requests = [
        request_for(model, rows, SEED + n, epochs=length)
        for n, (model, length) in enumerate(zip(models, lengths, strict=True))
    ]
    train(requests, "stacked")
    for n, (model, length) in enumerate(zip(models, lengths, strict=True)):
        theirs = seeded_model(build, OPTIMIZERS["Adam"])
        by_keras(theirs, rows, SEED + n, epochs=length)
        assert_equal(model, theirs)


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_test_begin", "on_test_end", "on_epoch_end"])
@pytest.mark.parametrize("form", COMPILED)
def test_a_model_that_fails_while_it_trains_can_still_be_used(form: str, hook: str) -> None:
    """Programs consume states, but never the arrays of a model."""
    calls: list[Any] = []

    def fail(*given: Any, **named: Any) -> None:
        calls.append(given)
        if len(calls) > 2:  # both models are past their first epoch
            raise ValueError("no more")

    Fails = type("Fails", (keras.callbacks.Callback,), {hook: fail})
    rows = data_for(table)
    models = [seeded_model(MODELS["dense"][0], OPTIMIZERS["Adam"]) for _ in range(2)]
    before = [variable.value for model in models for variable in model.variables]
    requests = [request_for(model, rows, callbacks=[Fails()], validation=rows) for model in models]
    failures = Engine(form=form).train(requests)
    assert all(isinstance(failure, ValueError) for failure in failures)
    after = [variable.value for model in models for variable in model.variables]
    assert not any(array.is_deleted() for array in [*before, *after])
    for model in models:
        assert np.isfinite(model.predict(rows.x, verbose=0)).all()


@pytest.mark.parametrize("form", COMPILED)
def test_a_fit_that_continues_does_so_as_in_keras(form: str) -> None:
    rows, build = data_for(table), MODELS["dropout"][0]
    ours, beside = (seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(2))
    train([request_for(ours, rows), request_for(beside, rows)], form)
    first, second = (
        request_for(model, rows, epochs=5, initial_epoch=3, shuffle=False)
        for model in (ours, beside)
    )
    result, _ = train([first, second], form)
    assert result.epochs == [3, 4]
    theirs = seeded_model(build, OPTIMIZERS["Adam"])
    by_keras(theirs, rows)
    in_order = [rows.take(np.arange(n, min(n + BATCH, N))) for n in range(0, N, BATCH)] * 2
    batches = (batch for batch in in_order)
    theirs.fit(batches, epochs=5, initial_epoch=3, steps_per_epoch=4, verbose=0, shuffle=False)
    assert_equal(ours, theirs)


def early(**more: Any) -> Callable[[], Any]:
    return lambda: keras.callbacks.EarlyStopping(**{"patience": 0, **more})


STOPPING: dict[str, Callable[[], Any]] = {
    **CALLBACKS,
    "the best weights come back": early(monitor="val_loss", restore_best_weights=True),
    "accuracy, the more the better": early(monitor="val_accuracy", restore_best_weights=True),
    "only from an epoch on": early(monitor="loss", min_delta=1.0, start_from_epoch=2),
    "a baseline": early(monitor="val_loss", baseline=0.1, patience=1),
    "a plateau with a cooldown": lambda: keras.callbacks.ReduceLROnPlateau(
        "val_loss", patience=0, min_delta=10.0, cooldown=1, factor=0.5, min_lr=0.003
    ),
}


@pytest.mark.parametrize("form", COMPILED)
@pytest.mark.parametrize("name", STOPPING)
def test_callbacks_do_in_a_cohort_what_they_do_in_keras(name: str, form: str) -> None:
    rows, held, build = data_for(table), data_for(table), MODELS["dropout"][0]
    optimizer = OPTIMIZERS["moving average"]
    ours, beside = (seeded_model(build, optimizer) for _ in range(2))
    callbacks = [STOPPING[name](), keras.callbacks.TerminateOnNaN()]
    if "averages" in name:  # wants the model itself
        callbacks.pop()
    result, _ = train(
        [
            request_for(ours, rows, validation=held, epochs=6, callbacks=callbacks),
            request_for(beside, rows, SEED + 1, validation=held, epochs=6),
        ],
        form,
    )
    theirs = seeded_model(build, optimizer)
    other = [STOPPING[name](), *[type(callback)() for callback in callbacks[1:]]]
    history = by_keras(theirs, rows, epochs=6, validation_data=(held.x, held.y), callbacks=other)
    assert_same_history(result, history)
    assert_equal(ours, theirs)
    assert callbacks[0].model is ours
    for attribute in ("best", "wait", "stopped_epoch", "best_epoch", "monitor_op"):
        kept, expected = (getattr(c[0], attribute, None) for c in (callbacks, other))
        assert kept == expected or kept == pytest.approx(expected, rel=1e-5), attribute


@pytest.mark.parametrize("as_on", ["cpu", "accelerator"])
@pytest.mark.parametrize("form", COMPILED)
def test_a_fit_that_diverges_stops_where_keras_stops_it_and_harms_no_other(
    form: str, as_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if as_on == "accelerator":  # where the program consumes the copy too
        copies = functools.partial(jax.tree.map, jax.numpy.copy)
        monkeypatch.setattr("amalthea.engine.cohorts.as_copies", copies)
    rows = data_for(table)
    rows = Rows(rows.x, rows.x[:, :1])

    def build() -> keras.Model:
        return keras.Sequential([L.Dense(8), L.Dense(1)])

    def model(rate: float) -> keras.Model:
        return seeded_model(build, lambda: O.SGD(rate), loss="mse", metrics=["mae"])

    wild, stopped, calm = model(1e10), model(1e10), model(1e-12)
    on_nan = keras.callbacks.TerminateOnNaN
    results = train(
        [
            request_for(wild, rows),
            request_for(stopped, rows, callbacks=[on_nan()]),
            request_for(calm, rows),
        ],
        form,
    )
    for ours, result, rate, callbacks in (
        (wild, results[0], 1e10, []),
        (stopped, results[1], 1e10, [on_nan()]),
        (calm, results[2], 1e-12, []),
    ):
        theirs = model(rate)
        history = by_keras(theirs, rows, callbacks=callbacks)
        assert_same_history(result, history)
        assert_equal(ours, theirs)
    assert len(results[1].epochs) == 1 and len(results[2].epochs) == EPOCHS


@pytest.mark.parametrize("form", COMPILED)
def test_a_callback_that_raises_fails_its_own_fit_alone(form: str) -> None:
    def schedule(epoch: int, rate: float) -> float:
        if epoch == 1:
            raise ArithmeticError("no more")
        return rate

    rows, build = data_for(table), MODELS["dense"][0]
    models = [seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(3)]
    requests = [request_for(model, rows) for model in models]
    requests[1] = request_for(
        models[1], rows, callbacks=[keras.callbacks.LearningRateScheduler(schedule)]
    )
    first, failed, last = Engine(form=form).train(requests)
    assert isinstance(failed, ArithmeticError)
    theirs = seeded_model(build, OPTIMIZERS["Adam"])
    history = by_keras(theirs, rows)
    for result, model in ((first, models[0]), (last, models[2])):
        assert_same_history(result, history)
        assert_equal(model, theirs)


def test_the_engine_alone_keeps_to_the_bit() -> None:
    """What a fit outside of any search uses."""
    rows, build = data_for(table), MODELS["batch normalisation"][0]
    ours, theirs = (seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(2))
    trained(Engine(to_the_bit=True), request_for(ours, rows))
    by_keras(theirs, rows)
    for group in ("variables", "optimizer_variables"):
        for one, other in zip(_values(ours, group), _values(theirs, group), strict=True):
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


# --- what only looks alike -----------------------------------------------------------------------


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
