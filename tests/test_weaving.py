"""One program for several models does what the programs of each do.

In double precision, as far as Keras keeps to it, so that nothing hides behind rounding: a wrong
mask, or an element that leaks from behind the end of an axis, is far beyond the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import keras
import numpy as np
import pytest

from amalthea.engine import steps
from amalthea.engine.batching import OneStep, Steps
from amalthea.engine.lifting import seen
from amalthea.engine.lifting.families import Family, family_of
from amalthea.engine.lifting.flat import NotWoven
from amalthea.engine.programs import trace
from amalthea.engine.steps import State, predict_step, state_of, train_step
from amalthea.engine.structures import Structure

L = keras.layers
O = keras.optimizers  # noqa: E741
ROWS, STEPS, CLASSES = 8, 3, 3
Build = Callable[[], keras.Model]


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    before = keras.config.floatx(), keras.config.dtype_policy()
    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "as if large"])
def as_if_large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small arrays are zeroed behind the end as large ones are."""
    if request.param:
        monkeypatch.setattr(seen, "LARGE", 0)


def data(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x, np.random.default_rng(1).integers(0, CLASSES, len(x)).astype("int64")


TABLE = np.random.default_rng(0).normal(size=(ROWS, 4))
PICTURES = np.random.default_rng(0).normal(size=(ROWS, 6, 6, 2))
SERIES = np.random.default_rng(0).normal(size=(ROWS, 5, 3))
WORDS = np.random.default_rng(0).integers(0, 9, size=(ROWS, 5))


def built(build: Build, x: np.ndarray) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build()
    model.fit(*data(x), batch_size=len(x), epochs=1, verbose=0)
    model.reset_metrics()
    return model


def structure(model: keras.Model, batch: Any, step: Any = train_step) -> Structure:
    traced = trace(lambda state, rows: step(model, state, rows), state_of(model), batch)
    begin = [np.asarray(value) for value in state_of(model).metrics]
    return Structure(traced.key, Steps(traced, None), None, begin, [])


def family(builds: Sequence[Build], x: np.ndarray) -> tuple[Family, list[State], list[Structure]]:
    models = [built(build, x) for build in builds]
    structures = [structure(model, data(x)) for model in models]
    return family_of(structures), [state_of(model) for model in models], structures


def step_of(structure: Structure) -> Any:
    assert isinstance(structure.train, Steps)
    return jax.jit(structure.train.whole)


def assert_woven(builds: Sequence[Build], x: np.ndarray = TABLE, rtol: float = 1e-6) -> None:
    """Each model, step by step, as its own program and in the program of all."""
    common, states, structures = family(builds, x)
    together = step_of(common.structure)
    for own, state in zip(structures, states, strict=True):
        place, alone = common.places[own.key], step_of(own)
        joined = place.put(state)
        for _ in range(STEPS):
            state, logs = alone(state, data(x))
            joined, logs_together = together(joined, data(x))
        after = place.take(joined)
        for ours, theirs in zip(after[:3], state[:3], strict=True):
            for one, other in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol / 10)
        for name, value in logs.items():
            np.testing.assert_allclose(logs_together[name], value, rtol=rtol)


def net(*layers: Any, optimizer: Any = None, loss: Any = None, metrics: Any = ("accuracy",)) -> Any:
    model = keras.Sequential([*layers, L.Dense(CLASSES, "softmax")])
    loss = loss or "sparse_categorical_crossentropy"
    model.compile(optimizer or O.SGD(0.1, momentum=0.5), loss, metrics=list(metrics))
    return model


def over(values: Sequence[Any], build: Callable[[Any], Any]) -> list[Build]:
    return [lambda value=value: build(value) for value in values]


# --- numbers -------------------------------------------------------------------------------------

NUMBERS: dict[str, list[Build]] = {
    "dropout": over([0.0, 0.2, 0.7], lambda r: net(L.Dense(5, "relu"), L.Dropout(r))),
    "noise": over([0.1, 0.5], lambda s: net(L.GaussianNoise(s), L.Dense(5))),
    "gaussian dropout": over([0.1, 0.5], lambda r: net(L.Dense(5), L.GaussianDropout(r))),
    "penalties": over(
        [(0.0, 0.1), (0.01, 0.0), (0.1, 0.2)],
        lambda p: net(
            L.Dense(
                5,
                kernel_regularizer=keras.regularizers.L1L2(*p),
                bias_regularizer=keras.regularizers.L2(p[1]),
                activity_regularizer=keras.regularizers.L1(p[0]),
            )
        ),
    ),
    "maximal norm": over(
        [0.3, 1.0, 2.0],
        lambda n: net(L.Dense(5, kernel_constraint=keras.constraints.MaxNorm(n))),
    ),
    "norm between": over(
        [0.3, 0.9],
        lambda n: net(L.Dense(5, kernel_constraint=keras.constraints.MinMaxNorm(n, n + 0.5))),
    ),
    "momentum": over([0.0, 0.5, 0.9], lambda m: net(optimizer=O.SGD(0.1, momentum=m))),
    "nesterov": over([0.5, 0.9], lambda m: net(optimizer=O.SGD(0.1, momentum=m, nesterov=True))),
    "betas": over(
        [(0.8, 0.99, 1e-7), (0.9, 0.999, 1e-3)],
        lambda b: net(optimizer=O.Adam(0.01, beta_1=b[0], beta_2=b[1], epsilon=b[2])),
    ),
    "rho": over([0.5, 0.9], lambda r: net(optimizer=O.RMSprop(0.01, rho=r, momentum=r / 2))),
    "weight decay": over([0.0, 0.1, 0.3], lambda d: net(optimizer=O.AdamW(0.01, weight_decay=d))),
    "clipped values": over([0.01, 0.1], lambda c: net(optimizer=O.Adam(0.01, clipvalue=c))),
    "clipped norms": over([0.01, 0.1], lambda c: net(optimizer=O.Adam(0.01, clipnorm=c))),
    "clipped norm": over([0.01, 0.1], lambda c: net(optimizer=O.SGD(0.1, global_clipnorm=c))),
    "moving average": over(
        [0.5, 0.9], lambda m: net(optimizer=O.Adam(0.01, use_ema=True, ema_momentum=m))
    ),
    "schedule": over(
        [0.5, 0.9],
        lambda d: net(optimizer=O.SGD(O.schedules.ExponentialDecay(0.1, 2, decay_rate=d))),
    ),
    "slope": over([0.1, 0.4], lambda s: net(L.Dense(5), L.LeakyReLU(negative_slope=s))),
    "epsilon": over([1e-3, 1e-1], lambda e: net(L.Dense(5), L.LayerNormalization(epsilon=e))),
    "batch normalisation": over(
        [0.9, 0.99], lambda m: net(L.Dense(5), L.BatchNormalization(momentum=m))
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_become_inputs(name: str) -> None:
    assert_woven(NUMBERS[name])


def one_hot_net(smoothing: float) -> Any:
    model = keras.Sequential([L.Dense(5, "relu"), L.Dense(4, "softmax")])
    model.compile("adam", keras.losses.CategoricalCrossentropy(label_smoothing=smoothing))
    return model


def test_label_smoothing_becomes_an_input() -> None:
    y = np.eye(4)[np.arange(ROWS) % 4]

    def traced(smoothing: float) -> tuple[Structure, State]:
        keras.utils.set_random_seed(0)
        model = one_hot_net(smoothing)
        model.fit(TABLE, y, batch_size=ROWS, verbose=0)
        model.reset_metrics()
        return structure(model, (TABLE, y)), state_of(model)

    several = [traced(smoothing) for smoothing in (0.0, 0.1, 0.3)]
    common = family_of([one for one, _ in several])
    for own, state in several:
        after, logs = step_of(own)(state, (TABLE, y))
        joined, ours = step_of(common.structure)(common.places[own.key].put(state), (TABLE, y))
        np.testing.assert_allclose(ours["loss"], logs["loss"], rtol=1e-12)
        kernel = common.places[own.key].take(joined).trainable[0]
        np.testing.assert_allclose(kernel, after.trainable[0], rtol=1e-9)


# --- sizes ---------------------------------------------------------------------------------------

WIDTHS = [1, 3, 7]
IN_SINGLE_PRECISION = {"gru", "lstm", "bidirectional"}  # Keras has no other for them
SIZES: dict[str, tuple[Callable[[int], Any], np.ndarray]] = {
    "dense": (lambda n: net(L.Dense(n, "tanh"), L.Dense(4, "relu")), TABLE),
    "two widths": (lambda n: net(L.Dense(n, "tanh"), L.Dense(8 - n, "relu")), TABLE),
    "softmax of units": (lambda n: net(L.Dense(n + 1, "softmax")), TABLE),
    "dropout": (lambda n: net(L.Dense(n), L.Dropout(0.4), L.Dense(n), L.Dropout(0.2)), TABLE),
    "noise": (lambda n: net(L.Dense(n), L.GaussianNoise(0.3)), TABLE),
    "layer normalisation": (lambda n: net(L.Dense(n + 1), L.LayerNormalization()), TABLE),
    "group normalisation": (lambda n: net(L.Dense(2 * n), L.GroupNormalization(2)), TABLE),
    "batch normalisation": (lambda n: net(L.Dense(n), L.BatchNormalization()), TABLE),
    "unit norm": (
        lambda n: net(L.Dense(n, kernel_constraint="unit_norm"), L.UnitNormalization()),
        TABLE,
    ),
    "orthogonal": (
        lambda n: net(L.Dense(n, kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2))),
        TABLE,
    ),
    "filters": (
        lambda n: net(
            L.Conv2D(n, 3, activation="relu"), L.MaxPooling2D(), L.Conv2D(n, 2), L.Flatten()
        ),
        PICTURES,
    ),
    "pooled filters": (
        lambda n: net(L.Conv2D(n, 3, padding="same"), L.GlobalAveragePooling2D()),
        PICTURES,
    ),
    "separable": (lambda n: net(L.SeparableConv2D(n, 3), L.Flatten()), PICTURES),
    "filters over time": (lambda n: net(L.Conv1D(n, 2), L.GlobalMaxPooling1D()), SERIES),
    "kernel sizes": (lambda n: net(L.Conv1D(3, 1 + n // 2), L.GlobalMaxPooling1D()), SERIES),
    "embedding": (lambda n: net(L.Embedding(9, n), L.Flatten()), WORDS),
    "words": (lambda n: net(L.Embedding(9 + n, 3), L.GlobalAveragePooling1D()), WORDS),
    "gru": (lambda n: net(L.GRU(n)), SERIES),
    "lstm": (lambda n: net(L.LSTM(n, return_sequences=True), L.LSTM(2)), SERIES),
    "bidirectional": (lambda n: net(L.Bidirectional(L.SimpleRNN(n))), SERIES),
    "turned about": (
        lambda n: net(L.Dense(2 * n), L.Reshape((2, n)), L.Permute((2, 1)), L.Flatten()),
        TABLE,
    ),
    "attention": (
        lambda n: functional(
            lambda x: L.Flatten()(L.MultiHeadAttention(n, 2)(*[L.Reshape((4, 1))(x)] * 2))
        ),
        TABLE,
    ),
    "concatenated": (
        lambda n: functional(lambda x: L.Concatenate()([L.Dense(n)(x), L.Dense(n + 2)(x)])),
        TABLE,
    ),
    "residual": (
        lambda n: functional(lambda x: L.Add()([L.Dense(n)(x), L.Dense(n, "relu")(x)])),
        TABLE,
    ),
}


def functional(hidden: Callable[[Any], Any]) -> Any:
    x = keras.Input((4,))
    model = keras.Model(x, L.Dense(CLASSES, "softmax")(hidden(x)))
    model.compile(O.SGD(0.1, momentum=0.5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.usefixtures("as_if_large")
@pytest.mark.parametrize("name", SIZES)
def test_sizes_become_inputs(name: str) -> None:
    build, x = SIZES[name]
    if name in IN_SINGLE_PRECISION:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
        assert_woven(over(WIDTHS, build), x.astype("float32"), rtol=1e-5)
    else:
        assert_woven(over(WIDTHS, build), x)


# --- parts ---------------------------------------------------------------------------------------

ACTIVATIONS = "softmax softplus softsign relu tanh sigmoid hard_sigmoid linear elu gelu".split()
OPTIMIZERS = "sgd rmsprop adagrad adadelta adam adamax nadam adamw lion".split()
PARTS: dict[str, list[Build]] = {
    "activations": over(ACTIVATIONS, lambda a: net(L.Dense(5, a))),
    "optimizers": over(OPTIMIZERS, lambda o: net(L.Dense(5), optimizer=o)),
    "layers": over([0, 1, 3], lambda n: net(*(L.Dense(4 + n, "relu") for _ in range(n)))),
    "kinds of layers": over(
        [L.Dropout, L.GaussianNoise, L.ActivityRegularization],
        lambda layer: net(L.Dense(5), layer(0.3), L.Dense(2)),
    ),
    "normalisation or not": over(
        [L.BatchNormalization, L.LayerNormalization, L.Flatten],
        lambda layer: net(L.Dense(5), layer()),
    ),
    "losses": over(
        ["sparse_categorical_crossentropy", "poisson_of_classes"],
        lambda name: net(L.Dense(5), loss=None if "sparse" in name else poisson),
    ),
    "all at once": over(
        [(3, "relu", 0.0, "sgd"), (6, "tanh", 0.3, "adam"), (1, "gelu", 0.5, "rmsprop")],
        lambda v: net(L.Dense(v[0], v[1]), L.Dropout(v[2]), L.Dense(v[0] + 2), optimizer=v[3]),
    ),
}


def poisson(y: Any, predicted: Any) -> Any:
    of_class = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(y, (-1,)), "int32"), CLASSES)
    return keras.ops.mean(predicted - of_class * keras.ops.log(predicted + 1e-7), axis=-1)


@pytest.mark.parametrize("name", PARTS)
def test_parts_become_choices(name: str) -> None:
    assert_woven(PARTS[name])


@pytest.mark.usefixtures("as_if_large")
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_any_models_are_woven(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = [
        lambda: L.Dense(int(rng.integers(1, 9)), str(rng.choice(ACTIVATIONS[1:]))),
        lambda: L.Dropout(float(rng.choice([0.0, 0.1, 0.5]))),
        lambda: L.BatchNormalization(momentum=float(rng.uniform(0.5, 0.99))),
        lambda: L.LayerNormalization(epsilon=float(rng.uniform(1e-3, 1e-1))),
        lambda: L.GaussianNoise(float(rng.uniform(0.1, 0.5))),
        lambda: L.Dense(3, kernel_regularizer=keras.regularizers.L2(float(rng.uniform(0, 0.1)))),
    ]

    def build() -> Build:
        chosen = [int(n) for n in rng.integers(0, len(layers), size=int(rng.integers(1, 5)))]
        made = [layers[n]().get_config() | {"kind": n} for n in chosen]
        # A bias before a normalisation has no gradient but rounding; others make steps of it.
        optimizer = "sgd" if {2, 3} & set(chosen) else str(rng.choice(OPTIMIZERS))
        kinds = [type(layers[n]()) for n in chosen]

        def again() -> Any:
            configs = [{k: v for k, v in one.items() if k not in ("kind", "name")} for one in made]
            chain = [kind.from_config(c) for kind, c in zip(kinds, configs, strict=True)]
            return net(L.Dense(4), *chain, optimizer=optimizer)

        return again

    assert_woven([build() for _ in range(4)])


# --- what is behind the end ----------------------------------------------------------------------


@pytest.mark.usefixtures("as_if_large")
@pytest.mark.parametrize("name", ["dropout", "filters", "orthogonal", "residual"])
def test_nothing_behind_the_end_reaches_what_is_before_it(name: str) -> None:
    """Not even NaN: it is replaced, not multiplied by zero; and weights stay zero there."""
    build, x = SIZES[name]
    common, states, structures = family(over([2, 6], build), x)
    together = step_of(common.structure)
    place = common.places[structures[0].key]
    clean = place.put(states[0])
    slots = list(clean.optimizer)
    for number, own in enumerate(states[0].optimizer):
        if np.ndim(own):
            at = place.optimizer_place(number)
            slots[at] = _spoilt(slots[at], np.shape(own))
    dirty = clean._replace(optimizer=slots)
    ends = [together(state, data(x))[0] for state in (clean, dirty)]
    after = [place.take(end) for end in ends]
    for one, other in zip(after[0].trainable, after[1].trainable, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()
    for weights, own in zip(ends[1].trainable, states[0].trainable, strict=True):
        behind = np.array(weights)
        behind[tuple(slice(0, n) for n in np.shape(own))] = 0
        assert not behind.any()


def _spoilt(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    spoilt = np.full(np.shape(value), np.nan)
    spoilt[tuple(slice(0, n) for n in shape)] = np.asarray(value)[tuple(slice(0, n) for n in shape)]
    return spoilt


def test_large_arrays_are_zeroed_once_for_all_products(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = 128, 160
    rows = np.random.default_rng(0).normal(size=(32, 4))
    builds = over(widths, lambda n: net(L.Dense(n, "tanh"), L.Dense(n, "tanh")))
    models = [built(build, rows) for build in builds]
    structures = [in_two_sizes(model, rows, 14) for model in models]

    def taken_by_products() -> int:
        """How many arrays as wide as the hidden layers."""
        common = family_of(structures, one_step=True)
        train = common.structure.train
        assert isinstance(train, OneStep)
        state = common.places[structures[0].key].put(state_of(models[0]))
        for_whole = state.settings[train.first : train.first + train.several]
        program = jax.make_jaxpr(train.step)(state._replace(settings=for_whole), data(rows)).jaxpr
        products = [one for one in program.eqns if one.primitive.name == "dot_general"]
        return len({id(v) for one in products for v in one.invars if v.aval.shape == (32, 160)})

    monkeypatch.setattr(seen, "LARGE", 2**20)
    assert taken_by_products() == 7  # along rows and units each, but for the first layer's gradient
    monkeypatch.setattr(seen, "LARGE", 4096)
    assert taken_by_products() == 4


def in_two_sizes(model: keras.Model, rows: np.ndarray, n_rest: int) -> Structure:
    whole = structure(model, data(rows))
    rest = structure(model, data(rows[:n_rest]))
    assert isinstance(whole.train, Steps)
    assert isinstance(rest.train, Steps)
    both = Steps(whole.train.whole, rest.train.whole)
    return replace(whole, key=f"{whole.key} {rest.key}", train=both)


def test_weights_that_are_handed_on_are_not_masked_anew() -> None:
    models = [built(build, TABLE) for build in over([2, 6], SIZES["dense"][0])]
    structures = [structure(model, data(TABLE), steps.test_step) for model in models]
    common = family_of(structures)
    joined = common.places[structures[0].key].put(state_of(models[0]))
    program = jax.make_jaxpr(common.structure.train.whole)(joined, data(TABLE)).jaxpr
    n_weights = len(joined.trainable)
    assert program.outvars[:n_weights] == program.invars[:n_weights]


def test_predictions_are_woven_too() -> None:
    models = [built(build, TABLE) for build in over(WIDTHS, SIZES["softmax of units"][0])]
    states = [state_of(model)._replace(optimizer=[], metrics=[]) for model in models]
    structures = [
        Structure(step.key, Steps(step, None), None, [], [])
        for model, state in zip(models, states, strict=True)
        for step in [trace(lambda s, x, m=model: predict_step(m, s, x), state, TABLE)]
    ]
    common = family_of(structures)
    for own, state in zip(structures, states, strict=True):
        joined = common.places[own.key].put(state)
        _, ours = step_of(common.structure)(joined, TABLE)
        np.testing.assert_allclose(ours, step_of(own)(state, TABLE)[1], rtol=1e-12)


def test_programs_that_call_the_host_are_not_woven() -> None:
    class Told(keras.Layer):
        def call(self, x: Any) -> Any:
            jax.debug.print("{}", x.sum())
            return x

    with pytest.raises(NotWoven):
        family(over([1, 2], lambda n: net(L.Dense(n), Told())), TABLE)


def test_a_family_that_is_joined_later_keeps_its_program() -> None:
    """So a program that is there serves a model that was not there when it was compiled."""
    first, _, structures = family(over([2, 5, 9], SIZES["dense"][0]), TABLE)
    fourth = structure(built(lambda: SIZES["dense"][0](4), TABLE), data(TABLE))
    assert family_of([*structures, fourth]).structure.key == first.structure.key
