"""A step of a model with other sizes is derived just as it would be traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest

from amalthea import KerasRegressor
from amalthea.engine import derivation, structures
from amalthea.engine.derivation import ENOUGH_VALUES, Samples
from amalthea.engine.explanations import Count, Measures, are_independent, counts, explain
from amalthea.engine.forms import forget_programs
from amalthea.engine.initial_values import initial_values
from amalthea.engine.keras_sizes import SIZES
from amalthea.engine.likeness import Likeness, likeness
from amalthea.engine.programs import TracedStep, trace
from amalthea.engine.seeding import seeded
from amalthea.engine.steps import (
    predict_step,
    state_of,
    train_step,
    variables_of,
)
from amalthea.engine.steps import (
    test_step as evaluate_step,
)

L = keras.layers
Rows = tuple[np.ndarray, np.ndarray]
Build = Callable[..., keras.Model]
TABLE = np.zeros((9, 4), "float32"), np.zeros((9, 3), "float32")
IMAGES = np.zeros((9, 6, 6, 2), "float32"), TABLE[1]
LINES = np.zeros((9, 12, 2), "float32"), TABLE[1]
CUBES = np.zeros((9, 4, 4, 4, 2), "float32"), TABLE[1]
WORDS = np.zeros((9, 5), "int32"), TABLE[1]


def sequential(rows: Rows, layers: Sequence[Any], optimizer: Any = "adam") -> keras.Model:
    model = keras.Sequential([L.Input(rows[0].shape[1:], dtype=rows[0].dtype.name), *layers])
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def of_two(merge: Any) -> Callable[[int], keras.Model]:
    def build(units: int) -> keras.Model:
        given = keras.Input((4,))
        one, other = L.Dense(units, activation="relu")(given), L.Dense(units)(given)
        model = keras.Model(given, L.Dense(3)(L.Dense(7)(merge()([one, other]))))
        model.compile("sgd", "mse", metrics=["mae"])
        return model

    return build


def in_the_middle(rows: Rows, first: Any, *layers: Any) -> Callable[[int], keras.Model]:
    """A model with these layers behind one of some units or filters."""
    return lambda units: sequential(rows, [first(units), *(make() for make in layers), L.Dense(3)])


def of_kind(name: str) -> tuple[Rows, Callable[[int], keras.Model]]:
    kind = getattr(L, name)
    if name in ("Add", "Multiply", "Concatenate"):
        return TABLE, of_two(kind)
    if name == "Dense":
        return TABLE, in_the_middle(TABLE, lambda units: L.Dense(units, activation="gelu"))
    if name == "Embedding":
        return WORDS, in_the_middle(WORDS, lambda units: L.Embedding(11, units), L.Flatten)
    if name in ("Normalization", "Rescaling", "InputLayer"):
        made = {"Normalization": {"mean": 1.0, "variance": 2.0}, "Rescaling": {"scale": 0.5}}
        if name == "InputLayer":
            return TABLE, lambda units: sequential(TABLE, [L.Dense(units), L.Dense(3)])
        return TABLE, lambda n: sequential(TABLE, [kind(**made[name]), L.Dense(n), L.Dense(3)])
    rank = next((n for n in "123" if f"{n}D" in name), None)
    if rank:
        rows = {"1": LINES, "2": IMAGES, "3": CUBES}[rank]
        convolution = getattr(L, f"Conv{rank}D")
        pool = {"pool_size": 2}
        made = {"Conv": {"filters": 3, "kernel_size": 2}, "Spat": {"rate": 0.3}, "MaxP": pool}
        made = {**made, "Aver": pool}.get(name[:4], {})
        return rows, in_the_middle(
            rows, lambda units: convolution(units, 2), lambda: kind(**made), L.Flatten
        )
    made = {
        "Activation": {"activation": "tanh"},
        "ActivityRegularization": {"l1": 0.01, "l2": 0.1},
        "Dropout": {"rate": 0.3},
        "GaussianDropout": {"rate": 0.3},
        "GaussianNoise": {"stddev": 0.3},
    }.get(name, {})
    return TABLE, in_the_middle(TABLE, L.Dense, lambda: kind(**made))


LAYERS = sorted(kind.__name__ for kind in SIZES if issubclass(kind, L.Layer))


def traced(
    build: Build, rows: Rows, *arguments: Any, n_rows: int = 9, step: Any = train_step
) -> tuple[Likeness, TracedStep]:
    with seeded(0), initial_values():
        model = build(*arguments)
        spelled = likeness(model, variables_of(model))
        batch = tuple(part[:n_rows] for part in rows)
        model.fit(*batch, epochs=0, verbose=0)
    assert spelled is not None
    data = batch if step is not predict_step else batch[0]
    return spelled, trace(lambda state, data: step(model, state, data), state_of(model), data)


def measures_of(spelled: Likeness, n_rows: int = 9) -> Measures:
    return Measures(spelled.numbers, (*spelled.sizes, n_rows))


def assert_same(one: TracedStep, other: TracedStep) -> None:
    assert one.key == other.key
    assert (one.work, one.frame, one.n_rows) == (other.work, other.frame, other.n_rows)
    assert one.result_like == other.result_like


EVALUATED = ("BatchNormalization", "Conv2D", "Dense", "Embedding")
STEPS = [
    *((name, train_step) for name in LAYERS),
    *((name, step) for name in EVALUATED for step in (evaluate_step, predict_step)),
]


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_a_step_of_other_units_is_derived_just_as_it_would_be_traced(name: str, step: Any) -> None:
    rows, build = of_kind(name)
    samples, forms, n_derived = Samples(), set(), 0
    for units in (5, 8, 12, 7, 30):
        spelled, own = traced(build, rows, units, step=step)
        forms.add(spelled.form())
        found = samples.of(measures_of(spelled))
        if found is None:
            samples.add(measures_of(spelled), own)
        else:
            n_derived += 1
            assert_same(found, own)
    assert len(forms) == 1
    assert n_derived == 5 - ENOUGH_VALUES


def two_layers(units: int, others: int, rate: float, optimizer: Any = "adamw") -> keras.Model:
    layers = [
        L.Dense(units, activation="relu", kernel_regularizer=keras.regularizers.L2(rate)),
        L.LayerNormalization(),
        L.Dropout(rate),
        L.Dense(others, kernel_constraint="max_norm"),
        L.BatchNormalization(),
        L.Dense(3),
    ]
    return sequential(TABLE, layers, optimizer)


def test_several_sizes_numbers_and_batches_at_once() -> None:
    rng = np.random.default_rng(0)
    samples, n_derived = Samples(), 0
    for n in range(10):
        arguments = (*map(int, rng.integers(2, 90, size=2)), float(rng.uniform(0.1, 0.9)))
        for n_rows in (9, 4):
            spelled, own = traced(two_layers, TABLE, *arguments, n_rows=n_rows)
            found = samples.of(measures_of(spelled, n_rows))
            if found is None:
                samples.add(measures_of(spelled, n_rows), own)
            else:
                n_derived += 1
                assert_same(found, own)
                assert n > 0  # the first has to be traced, whole and short
    assert n_derived >= 20 - 2 * ENOUGH_VALUES - 1


def test_a_derived_step_computes_what_it_should() -> None:
    samples = Samples()
    for arguments in ((5, 8, 0.1), (7, 11, 0.2), (12, 4, 0.3)):
        spelled, step = traced(two_layers, TABLE, *arguments, "sgd")
        samples.add(measures_of(spelled), step)
    with seeded(0):
        model = two_layers(9, 6, 0.45, "sgd")
        spelled_out = likeness(model, variables_of(model))
        x, y = (np.random.default_rng(0).normal(size=part.shape).astype("f4") for part in TABLE)
        model.fit(x, y, epochs=0, verbose=0)
    assert spelled_out is not None
    found = samples.of(measures_of(spelled_out))
    assert found is not None
    ours, logs = found(state_of(model), (x, y))
    theirs, their_logs = train_step(model, state_of(model), (x, y))
    for one, other in zip(ours.trainable, theirs.trainable, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logs["loss"], their_logs["loss"], rtol=1e-6)


@pytest.mark.parametrize("first", [1, 5])
def test_a_size_of_one_is_told_apart(first: int) -> None:
    """Along it JAX repeats an array."""
    build = in_the_middle(TABLE, L.Dense, L.BatchNormalization)
    samples = Samples()
    for units in (first, 6, 7, 8):
        spelled, step = traced(build, TABLE, units)
        samples.add(measures_of(spelled), step)
    for units, is_derived in ((1, first == 1), (9, True)):
        spelled, step = traced(build, TABLE, units)
        found = samples.of(measures_of(spelled))
        assert (found is not None) == is_derived
        if found is not None:
            assert_same(found, step)


def test_rows_that_were_not_seen_are_traced() -> None:
    """A loss may look at how many there are."""
    samples = Samples()
    for n_rows in (9, 8, 7, 6):
        spelled, step = traced(two_layers, TABLE, 5, 8, 0.1, n_rows=n_rows)
        samples.add(measures_of(spelled, n_rows), step)
    assert samples.of(measures_of(spelled, 5)) is None
    assert samples.of(measures_of(spelled, 7)) is not None


def dense(units: int, others: int) -> keras.Model:
    return sequential(TABLE, [L.Dense(units), L.Dense(others), L.Dense(3)])


def over_rows(units: int, others: int) -> keras.Model:
    """Means over the rows and units of a batch, whose number is no size of the model."""
    layers = [L.Dense(units), L.BatchNormalization(axis=1), L.Flatten(), L.Dense(others)]
    return sequential(LINES, [*layers, L.Dense(3)])


def in_a_row(*widths: int) -> keras.Model:
    *some, last = widths
    given = keras.Input((4,))
    joined = L.Concatenate()([L.Dense(units)(given) for units in some])
    model = keras.Model(given, L.Dense(3)(L.Dense(last)(joined)))
    model.compile("sgd", "mse")
    return model


def pooled(units: int, _: int) -> keras.Model:
    pool = L.AveragePooling1D(3, padding="same", data_format="channels_first")
    return sequential(LINES, [L.Dense(units), pool, L.Flatten(), L.Dense(3)])


def in_groups(filters: int, units: int) -> keras.Model:
    layers = [L.Dense(4), L.Conv1D(filters, 2, groups=2), L.Dense(units)]
    return sequential(LINES, [*layers, L.GlobalAveragePooling1D(), L.Dense(3)])


def in_halves(units: int, _: int) -> keras.Model:
    layers = [L.Dense(units), L.LayerNormalization(), L.Dense(3)]
    for layer in layers:
        layer.dtype_policy = keras.DTypePolicy("bfloat16")
    return sequential(TABLE, layers)


ROWS_OF = {over_rows: LINES, pooled: LINES, in_groups: LINES}


@pytest.mark.parametrize(
    ("build", "samples", "new"),
    [
        (dense, [(5, 5, 9), (8, 8, 9), (9, 9, 9)], [(4, 7, 9), (5, 8, 9)]),
        (dense, [(4, 7, 4), (9, 7, 9), (6, 7, 6), (9, 7, 4)], [(9, 7, 6), (5, 7, 4)]),
        (dense, [(4, 8, 9), (5, 10, 9), (7, 14, 9)], [(6, 12, 9), (6, 11, 9)]),
        (over_rows, [(6, 5, 4), (4, 5, 6), (3, 5, 8), (12, 5, 2)], [(6, 5, 6), (4, 5, 4)]),
        (pooled, [(7, 1, 9), (10, 1, 9), (13, 1, 9)], [(9, 1, 9), (8, 1, 9)]),
        (in_groups, [(8, 5, 9), (12, 7, 9), (16, 9, 9)], [(8, 7, 9), (6, 5, 9)]),
        (in_halves, [(300, 1, 9), (301, 1, 9), (302, 1, 9)], [(400, 1, 9)]),
        (in_a_row, [(3, 4, 5, 7, 9), (5, 6, 8, 11, 9), (2, 9, 6, 11, 9)], [(5, 4, 5, 7, 9)]),
    ],
    ids=[
        *("equal widths", "units as rows", "multiples", "product with rows", "windows along units"),
        *("groups", "halves", "sums"),
    ],
)
def test_samples_that_deceive(build: Any, samples: Any, new: Any) -> None:
    """Where they do not tell, nothing is derived; what is derived is right."""
    known: dict[Likeness, Samples] = {}

    def measured(*arguments: int) -> tuple[Samples, Measures, TracedStep]:
        *widths, n_rows = arguments
        spelled, step = traced(build, ROWS_OF.get(build, TABLE), *widths, n_rows=n_rows)
        of_form = known.setdefault(spelled.form(), Samples())
        return of_form, measures_of(spelled, n_rows), step

    for arguments in samples:
        of_form, measures, step = measured(*arguments)
        of_form.add(measures, step)
    for arguments in new:
        of_form, measures, step = measured(*arguments)
        found = of_form.of(measures)
        if found is not None:
            assert_same(found, step)


def dropping(rate: float, dtype: str = "float32") -> keras.Model:
    return sequential(TABLE, [L.Dense(4, dtype=dtype), L.Dropout(rate, dtype=dtype), L.Dense(3)])


@pytest.mark.parametrize(
    ("rates", "new", "dtype"),
    [
        ((1e-9, 2e-9, 3e-9), 0.5, "float32"),
        ((1e-8, 2.7e-8, 6e-9), 0.2, "float32"),
        ((0.1, 0.1 + 1e-12, 0.1 + 2e-12), 0.5, "float32"),
        ((0.1, 0.1004, 0.1007), 0.5, "bfloat16"),
        ((0.1, 0.1004, 0.1007), 0.5, "float16"),
    ],
)
def test_numbers_that_rounding_makes_equal(rates: Any, new: float, dtype: str) -> None:
    known = Samples()
    for rate in rates:
        spelled, step = traced(dropping, TABLE, rate, dtype)
        known.add(measures_of(spelled), step)
    spelled, step = traced(dropping, TABLE, new, dtype)
    found = known.of(measures_of(spelled))
    assert found is None or found.key == step.key


@pytest.mark.parametrize(
    "change",
    [
        lambda: {"optimizer": keras.optimizers.Muon()},
        lambda: {"optimizer": keras.optimizers.Adafactor()},
        lambda: {"layer": L.GroupNormalization(1)},
        lambda: {"layer": L.Reshape((-1,))},
        lambda: {"kernel_regularizer": "orthogonal_regularizer"},
    ],
    ids=["muon", "adafactor", "groups of units", "reshape", "orthogonal regulariser"],
)
def test_what_may_look_at_sizes_has_another_form_for_each(change: Callable[[], Any]) -> None:
    def build(units: int) -> keras.Model:
        others = change()
        optimizer = others.pop("optimizer", "adam")
        layers = [others.pop("layer")] if "layer" in others else []
        return sequential(TABLE, [L.Dense(units, **others), *layers, L.Dense(3)], optimizer)

    one, other = (traced(build, TABLE, units)[0] for units in (4, 6))
    assert one.form() != other.form() and not one.sizes


def test_what_a_loss_sees_is_no_size() -> None:
    def build(units: int) -> keras.Model:
        model = keras.Sequential([L.Input((4,)), L.Dense(units, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    rows = TABLE[0], np.zeros(9, "int32")
    one, other = (traced(build, rows, units)[0] for units in (3, 4))
    assert one.form() != other.form()


def test_counts_explain_a_column() -> None:
    sizes = [(5, 9, 2), (7, 9, 2), (7, 4, 2)]
    assert counts([5, 7, 7], sizes) == [Count(1, (0,), 0)]
    assert counts([8, 8, 3], sizes) == []
    assert counts([8, 8, 3], sizes, may_be_less=True) == [Count(1, (1,), 1)]
    assert counts([135, 189, 84], sizes) == [Count(3, (0, 1), 0)]
    assert counts([5, 7, 8], sizes) == []
    one = counts([10, 14], [(5, 10), (7, 14)])
    assert {count.of((6, 12)) for count in one} == {12}
    assert {count.of((6, 11)) for count in one} == {11, 12}  # nobody knows which
    assert are_independent(sizes) and not are_independent([(6, 4), (4, 6)])


def test_scalars_that_divide_are_explained() -> None:
    sizes = [Measures((), (n, 9)) for n in (5, 7, 12)]
    new = Measures((), (11, 9))
    for make in (lambda n: np.float32(1 / n), lambda n: 1 / np.float32(n), lambda n: np.float32(n)):
        values = [np.asarray(make(one.sizes[0])) for one in sizes]
        made = {float(one.of(new, values[0])) for one in explain(values, sizes)}
        assert made == {float(make(11))}
    assert not explain([np.float32(0.7 / one.sizes[0]) for one in sizes], sizes)


def one_layer(units: int = 4) -> keras.Model:
    layers = [L.Dense(units, activation="tanh"), L.Dropout(0.2), L.BatchNormalization()]
    return sequential(TABLE, [*layers, L.Dense(3)])


def test_a_fit_by_a_derived_step_is_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X, y = (rng.normal(size=(21, n)).astype("float32") for n in (4, 3))
    n_traced: list[int] = []

    def noting(*arguments: Any) -> TracedStep:
        n_traced.append(1)
        return trace(*arguments)

    def weights(*all_units: int) -> list[np.ndarray]:
        """Of the last of these, in a process that knows nothing else."""
        forget_programs()
        for units in all_units:
            del n_traced[:]
            regressor = KerasRegressor(
                one_layer, units=units, epochs=3, batch_size=8, random_state=0
            )
            regressor.fit(X, y)
        return regressor.model_.get_weights()

    monkeypatch.setattr(structures, "trace", noting)
    alone = weights(6)
    assert len(n_traced) == 2  # a whole batch and the short one
    after_others = weights(4, 5, 7, 6)
    assert not n_traced
    for one, other in zip(alone, after_others, strict=True):
        np.testing.assert_array_equal(one, other)
    forget_programs()


def test_no_more_is_kept_for_other_sizes_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivation, "_STEPS_KEPT", 2)
    monkeypatch.setattr(derivation, "_OPERATIONS_KEPT", 3)
    resized = derivation.Resized()
    samples = Samples(resized)
    for units in (5, 6, 8):
        spelled, step = traced(one_layer, TABLE, units)
        samples.add(measures_of(spelled), step)
    for units in (9, 10, 11, 9):
        spelled, step = traced(one_layer, TABLE, units)
        found = samples.of(measures_of(spelled))
        assert found is not None
        assert_same(found, step)
        assert len(resized._steps) <= 2 and len(resized._operations) <= 3
