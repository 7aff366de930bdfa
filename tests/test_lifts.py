"""Fits that differ in a hyperparameter share one program, and get what Keras's own `fit` gives.

Keras is called by the test itself, for each of them, on the documented seed and batch order, with a
ragged last batch: weights, optimizer state and history.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from amalthea.engine.choice import most_lanes
from amalthea.engine.forms import Engine, _known, forget_programs
from amalthea.engine.requests import FitRequest, PredictRequest
from amalthea.engine.rows import Rows
from amalthea.engine.seeding import seeded
from engine_and_keras import EPOCHS, KerasAlone, by_keras
from kinds_of_models import SEED, N

L = keras.layers
O = keras.optimizers  # noqa: E741
RNG = np.random.default_rng(0)
TABLE = Rows(RNG.normal(size=(N, 6)).astype("float32"), RNG.integers(0, 3, size=N).astype("int32"))
PICTURES = Rows(RNG.normal(size=(N, 6, 6, 1)).astype("float32"), TABLE.y)
SERIES = Rows(RNG.normal(size=(N, 5, 3)).astype("float32"), TABLE.y)
WORDS = Rows(RNG.integers(0, 9, size=(N, 4)).astype("int32"), TABLE.y)
HELD = Rows(TABLE.x[:13] + 1, TABLE.y[:13])


def net(*layers: Any, optimizer: Any = None, rows: Rows = TABLE) -> keras.Model:
    model = keras.Sequential(
        [keras.Input(rows.x.shape[1:]), *[layer for layer in layers if layer is not None]]
        + [L.Dense(3, "softmax")]
    )
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer or O.Adam(0.01), loss, metrics=["accuracy"])
    return model


def build(
    units: int = 5,
    activation: str = "relu",
    rate: float = 0.0,
    penalty: float = 0.0,
    norm: float | None = None,
    optimizer: Any = None,
    layers: int = 1,
) -> keras.Model:
    keras.utils.set_random_seed(SEED)  # layers draw their seeds when they are made
    hidden = [
        L.Dense(
            units,
            activation,
            kernel_regularizer=keras.regularizers.L2(penalty) if penalty else None,
            kernel_constraint=keras.constraints.MaxNorm(norm) if norm else None,
        )
        for _ in range(layers)
    ]
    return net(*hidden, L.Dropout(rate), optimizer=optimizer() if optimizer else None)


GRIDS: dict[str, list[dict[str, Any]]] = {
    "learning rate": [{"optimizer": lambda r=r: O.SGD(r)} for r in (0.01, 0.1)],
    "momentum": [{"optimizer": lambda m=m: O.SGD(0.1, momentum=m)} for m in (0.0, 0.5, 0.9)],
    "betas": [
        {"optimizer": lambda b=b: O.Adam(0.01, beta_1=b, beta_2=1 - (1 - b) ** 2, epsilon=1 - b)}
        for b in (0.8, 0.9)
    ],
    "rho": [{"optimizer": lambda r=r: O.RMSprop(0.01, rho=r)} for r in (0.5, 0.9)],
    "weight decay": [{"optimizer": lambda d=d: O.AdamW(0.01, d)} for d in (0.01, 0.3)],
    "clipping": [{"optimizer": lambda c=c: O.Adam(0.01, clipnorm=c)} for c in (0.01, 0.1)],
    "average": [
        {"optimizer": lambda m=m: O.Adam(0.01, use_ema=True, ema_momentum=m)} for m in (0.5, 0.9)
    ],
    "optimizer": [{"optimizer": o} for o in (O.SGD, O.RMSprop, O.Adagrad, O.Adam, O.Nadam)],
    "dropout": [{"rate": rate} for rate in (0.0, 0.1, 0.5)],
    "penalty": [{"penalty": penalty} for penalty in (0.0, 0.01, 0.1)],
    "norm": [{"norm": norm} for norm in (0.5, 1.0, 2.0)],
    "rates and norms, of which some are not traced": [
        {"rate": rate, "norm": norm}
        for rate, norm in ((0.1, 1.0), (0.2, 2.0), (0.3, 3.0), (0.4, 0.7), (0.45, 3.5))
    ],
    "activation": [{"activation": a} for a in ("relu", "tanh", "sigmoid", "softplus", "linear")],
    "units": [{"units": units, "rate": 0.2} for units in (1, 4, 9)],
    "layers": [{"layers": layers} for layers in (1, 2, 3)],
    "several": [
        {"units": 3, "activation": "tanh", "rate": 0.3, "optimizer": O.SGD},
        {"units": 8, "penalty": 0.1, "layers": 2},
        {"units": 5, "rate": 0.1, "norm": 1.0, "optimizer": O.RMSprop},
    ],
}


def keras_fit(
    model: keras.Model, rows: Rows, epochs: int = EPOCHS, held: Rows | None = None, **more: Any
) -> Any:
    validation = (held.x, held.y) if held else None
    return by_keras(model, rows, epochs=epochs, validation_data=validation, **more)


def request(
    model: keras.Model, rows: Rows, epochs: int = EPOCHS, batch_size: int = 16, held: Any = None
) -> FitRequest:
    return FitRequest(model, rows, SEED, epochs, batch_size=batch_size, validation=held)


def filters(n: int) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    # Some gradients are next to zero, where steps of Adam's own size would be steps of rounding.
    optimizer = O.Adam(0.01, epsilon=1e-3)
    layers = [L.Conv2D(n, 3), L.MaxPooling2D(), L.Flatten()]
    return net(*layers, optimizer=optimizer, rows=PICTURES)


def gru(n: int) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    return net(L.GRU(n), rows=SERIES)


def lstm(n: int) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    return net(L.LSTM(n), L.Dropout(0.2), rows=SERIES)


def embedding(n: int) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    return net(L.Embedding(9, n), L.Flatten(), rows=WORDS)


def assert_same(ours: keras.Model, result: Any, theirs: keras.Model, history: Any) -> None:
    assert result.epochs == history.epoch
    for name, values in history.history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=1e-5, atol=1e-6)
    variables = [
        [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]
        for model in (ours, theirs)
    ]
    for one, other in zip(*variables, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other), rtol=1e-5, atol=1e-6
        )


Fit = tuple[Callable[[], keras.Model], Rows, dict[str, Any]]


def assert_trained_together_as_by_keras(fits: list[Fit], programs: int = 1) -> None:
    forget_programs()
    engine = Engine(form="stacked")
    before = engine.compilations
    models = [make() for make, _, _ in fits]
    requests = [
        request(model, rows, **more) for model, (_, rows, more) in zip(models, fits, strict=True)
    ]
    results, alone = engine.train(requests), KerasAlone()
    assert engine.compilations - before == programs
    for model, result, (make, rows, more) in zip(models, results, fits, strict=True):
        assert not isinstance(result, Exception), result
        assert result.form == "stacked"
        theirs = alone.model(make)
        assert_same(model, result, theirs, keras_fit(theirs, rows, **more))


def twice(fits: list[Fit]) -> list[Fit]:
    """Each fit with a neighbour that has other rows."""
    return [
        (make, some, more)
        for make, rows, more in fits
        for some in (rows, Rows(rows.x[::-1], rows.y))
    ]


@pytest.mark.parametrize("name", GRIDS)
def test_hyperparameters_share_a_program(name: str) -> None:
    fits: list[Fit] = [(lambda v=v: build(**v), TABLE, {"held": HELD}) for v in GRIDS[name]]
    assert_trained_together_as_by_keras(twice(fits))


LAYERS: dict[str, tuple[Callable[[int], Any], Rows]] = {
    "filters": (filters, PICTURES),
    "gru": (gru, SERIES),
    "lstm": (lstm, SERIES),
    "embedding": (embedding, WORDS),
}


@pytest.mark.parametrize("name", LAYERS)
def test_widths_of_layers_share_a_program(name: str) -> None:
    if name == "lstm" and jax.default_backend() != "cpu":
        pytest.skip("cuDNN trains one LSTM at a time")
    make, rows = LAYERS[name]
    assert_trained_together_as_by_keras(twice([(lambda n=n: make(n), rows, {}) for n in (2, 5)]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rate", "norm"])
def test_a_number_that_is_constant_in_a_wave_is_an_input_once_it_was_seen_to_vary(
    name: str,
) -> None:
    """A large grid comes in waves, in each of which the slowest of its hyperparameters is one."""
    forget_programs()
    engine = Engine(form="stacked")
    compiled = []
    for value in (0.15, 0.3, 0.35, 0.45, 0.6):
        before = engine.compilations
        wave = []
        for units in (3, 5):
            with seeded(SEED):  # so that layers have the names that they have in a search
                wave.append(build(units=units, **{name: value}))
        engine.train([request(model, TABLE) for model in wave])
        compiled.append(engine.compilations - before)
    assert compiled == [1, 1, 0, 0, 0]
    for model, units in zip(wave, (3, 5), strict=True):
        theirs = build(units=units, **{name: value})
        keras_fit(theirs, TABLE)
        for one, other in zip(model.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_parts_of_one_group_have_the_lanes_that_others_will_have() -> None:
    """So that the waves of a large search, which are cut into unlike parts, share a program."""
    forget_programs()
    engine, most = Engine(form="stacked"), most_lanes()
    model = build()
    for n_fits in (most + 1, most, 2 * most - 1):
        before = engine.compilations
        engine.train([request(model, TABLE, epochs=1) for _ in range(n_fits)])
        assert engine.compilations - before == (n_fits == most + 1)


def test_batch_sizes_share_a_program() -> None:
    """Also such as differ in how many batches there are, or leave no short one."""
    sizes = (10, 16, 17, 49)
    fits: list[Fit] = [(build, TABLE, {"batch_size": size}) for size in sizes]
    assert_trained_together_as_by_keras(fits)


def test_folds_of_other_sizes_share_a_program() -> None:
    def first(n_rows: int) -> Rows:
        return Rows(TABLE.x[:n_rows], TABLE.y[:n_rows])

    make = functools.partial(build, rate=0.2)
    fits: list[Fit] = [
        (make, first(n), {"held": Rows(HELD.x[: n - 35], HELD.y[: n - 35])}) for n in (40, 41, 47)
    ]
    assert_trained_together_as_by_keras(fits)


def test_fits_that_differ_in_epochs_train_once() -> None:
    """The shorter ones leave on the way, with what Keras's own fit gives them."""
    several = (1, 5, 40)
    forget_programs()
    engine = Engine()
    make, alone = functools.partial(build, rate=0.2), KerasAlone()
    models = [make() for _ in several]
    requests = [
        request(model, TABLE, epochs, held=HELD)
        for model, epochs in zip(models, several, strict=True)
    ]
    results = engine.train(requests)
    for model, result, epochs in zip(models, results, several, strict=True):
        theirs = alone.model(make)
        assert_same(model, result, theirs, keras_fit(theirs, TABLE, epochs, held=HELD))


@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 1, 2)], ids=["one seed", "several"])
def test_random_bits_are_drawn_once_for_fits_of_one_seed(seeds: tuple[int, ...]) -> None:
    def seeded(n: int) -> keras.Model:
        keras.utils.set_random_seed(seeds[n])
        return net(L.Dense(4 + n, "relu"), L.Dropout(0.2 * n) if n else None)

    forget_programs()
    models = [seeded(n) for n in range(3)]
    results = Engine(form="stacked").train([request(model, TABLE, held=HELD) for model in models])
    for n, (model, result) in enumerate(zip(models, results, strict=True)):
        theirs = seeded(n)
        assert_same(model, result, theirs, keras_fit(theirs, TABLE, held=HELD))
    ((shape,),) = _known.shapes._known.values()
    states = {name for name, _ in shape.common}
    assert states == ({"optimizer", "non_trainable"} if len({*seeds}) == 1 else {"optimizer"})


def test_metrics_that_are_objects_do_not_keep_fits_apart() -> None:
    """Their variables are made before those of the model's own, and are arguments all the same."""
    rows = Rows(TABLE.x, (TABLE.y > 0).astype("int32"))

    def judged(units: int) -> keras.Model:
        keras.utils.set_random_seed(SEED)
        scaled = L.Normalization(mean=TABLE.x.mean(0), variance=TABLE.x.var(0))
        model = keras.Sequential(
            [L.Input((6,)), scaled, L.Dense(units, "tanh"), L.Dense(1, "sigmoid")]
        )
        auc = keras.metrics.AUC(num_thresholds=20, name="auc")  # others would be "auc_1" and so on
        metrics = [auc, keras.metrics.Recall(name="recall"), "accuracy"]
        model.compile("adam", "binary_crossentropy", metrics=metrics)
        return model

    held = Rows(HELD.x, (HELD.y > 0).astype("int32"))
    makes = [functools.partial(judged, n) for n in (3, 6)]
    fits: list[Fit] = [(make, rows, {"held": held}) for make in (makes[0], makes[1], makes[1])]
    assert_trained_together_as_by_keras(fits)


def test_averages_of_a_fit_that_leaves_early_are_its_own() -> None:
    def average() -> keras.Model:
        return build(optimizer=lambda: O.Adam(0.01, use_ema=True, ema_momentum=0.9))

    models = [average() for _ in range(2)]
    results = Engine().train(
        [request(model, TABLE, epochs) for model, epochs in zip(models, (2, 4), strict=True)]
    )
    for model, result, epochs in zip(models, results, (2, 4), strict=True):
        theirs = average()
        assert_same(model, result, theirs, keras_fit(theirs, TABLE, epochs))


def test_a_later_fit_takes_a_lane_of_the_program_that_is_there() -> None:
    """As the refit of a search does, with more rows than the folds had."""
    forget_programs()
    engine = Engine()
    rows = Rows(TABLE.x[:34], TABLE.y[:34])
    engine.train([request(build(units=units), rows, 40) for units in (3, 4, 5) for _ in range(2)])
    before = engine.compilations
    ours, theirs = build(units=4), build(units=4)
    (result,) = engine.train([request(ours, TABLE, 40)])
    assert engine.compilations == before
    assert_same(ours, result, theirs, keras_fit(theirs, TABLE, 40))


def test_neighbours_of_other_kinds_predict_as_by_themselves() -> None:
    forget_programs()
    engine = Engine()
    models = [build(units=units, activation=a) for units in (2, 7) for a in ("relu", "tanh")]
    before = engine.compilations
    outputs = engine.predict([PredictRequest(model, TABLE.x, batch_size=16) for model in models])
    assert engine.compilations == before + 1
    for model, output in zip(models, outputs, strict=True):
        expected = model.predict(TABLE.x, batch_size=50, verbose=0)
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def test_a_fit_that_diverges_harms_only_itself() -> None:
    rates = (1e30, 0.1)
    models = [
        build(units=u, optimizer=lambda r=r: O.SGD(r)) for u, r in zip((7, 3), rates, strict=True)
    ]
    Engine(form="stacked").train([request(model, TABLE) for model in models])
    theirs = build(units=3, optimizer=lambda: O.SGD(0.1))
    keras_fit(theirs, TABLE)
    assert not np.isfinite(models[0].get_weights()[0]).all()
    for one, other in zip(models[1].get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["stacked", "loop", "steps"])
def test_equal_fits_leave_with_arrays_of_their_own(form: str) -> None:
    """Training one of the models later on must not take the other's values away."""
    models = [build(rate=0.2) for _ in range(2)]
    Engine(form=form).train([request(model, TABLE) for model in models])
    before = [np.array(weight) for weight in models[1].get_weights()]
    models[0].fit(TABLE.x, TABLE.y, verbose=0)
    for one, other in zip(models[1].get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def of_ones_own(units: int) -> keras.Model:
    """With a gradient of its own, and a call of the host that has no form for several."""

    @jax.custom_vjp
    def halved(x: Any) -> Any:
        return x / 2

    halved.defvjp(lambda x: (halved(x), None), lambda _, g: (g,))

    class Halved(keras.Layer):
        def call(self, x: Any) -> Any:
            like = jax.ShapeDtypeStruct(x.shape, x.dtype)
            return jax.pure_callback(np.asarray, like, halved(x))

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    keras.utils.set_random_seed(SEED)
    return net(L.Dense(units, "relu"), Halved())


def test_what_has_no_form_for_several_predicts_one_at_a_time() -> None:
    models = [of_ones_own(units) for units in (2, 2, 3)]
    outputs = Engine().predict([PredictRequest(model, TABLE.x, batch_size=16) for model in models])
    for model, output in zip(models, outputs, strict=True):
        assert not isinstance(output, Exception), output
        expected = model.predict(TABLE.x, batch_size=50, verbose=0)
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def test_half_precision_keeps_its_own_programs() -> None:
    """A sum of 16 bits in another order is another sum."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        models = [build(units=units) for units in (3, 5)]
        results = Engine().train([request(model, TABLE) for model in models])
        for model, result, units in zip(models, results, (3, 5), strict=True):
            theirs = build(units=units)
            assert_same(model, result, theirs, keras_fit(theirs, TABLE))
    finally:
        keras.config.set_dtype_policy(before)


def outputs_of(draw: Callable[[Any], Any]) -> Callable[[int], keras.Model]:
    class Own(keras.Layer):
        def call(self, x: Any) -> Any:
            return x + draw(x)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    def make(units: int) -> keras.Model:
        keras.utils.set_random_seed(SEED)
        return net(L.Dense(units), Own())

    return make


def several_keys(x: Any) -> Any:
    keys = jax.random.split(jax.random.key(1), 4)
    return jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:]))(keys).sum(axis=0)


def a_key_per_unit(x: Any) -> Any:
    return jax.vmap(jax.random.uniform)(jax.random.split(jax.random.key(1), x.shape[1]))


OWN: dict[str, Callable[[Any], Any]] = {
    "several keys": several_keys,
    "a key per unit": a_key_per_unit,
    "largest flag": lambda x: (x > 0).max(axis=1, keepdims=True).astype("float32"),
    "place of a flag": lambda x: (x > 0).argmax(axis=1)[:, None].astype("float32"),
    "bits of all": lambda x: jnp.bitwise_and.reduce((9 + (x > 0) * 2), axis=1)[:, None] / 9.0,
}


@pytest.mark.parametrize("name", OWN)
def test_what_own_layers_compute_is_predicted_as_by_themselves(name: str) -> None:
    models = [outputs_of(OWN[name])(units) for units in (2, 3, 5)]
    outputs = Engine().predict([PredictRequest(model, TABLE.x, batch_size=50) for model in models])
    for model, output in zip(models, outputs, strict=True):
        assert not isinstance(output, Exception), output
        expected = model.predict(TABLE.x, batch_size=50, verbose=0)
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def masked(units: int) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    return net(L.Masking(), L.LSTM(units), rows=SERIES)


def test_masked_layers_share_a_program_too() -> None:
    rows = Rows(np.where(np.arange(5)[:, None] < 4, SERIES.x, 0).astype("float32"), SERIES.y)
    assert_trained_together_as_by_keras(twice([(lambda n=n: masked(n), rows, {}) for n in (2, 4)]))
