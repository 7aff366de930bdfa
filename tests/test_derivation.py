"""A step that is derived from traced ones is the step that would be traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from amalthea.engine import known_steps, structures
from amalthea.engine.derivation import ENOUGH_VALUES, Samples
from amalthea.engine.explanations import Measures
from amalthea.engine.initial_values import initial_values
from amalthea.engine.keras_numbers import NUMBERS
from amalthea.engine.likeness import Likeness, likeness
from amalthea.engine.programs import TracedStep, trace
from amalthea.engine.requests import FitRequest
from amalthea.engine.rows import Rows
from amalthea.engine.seeding import seeded
from amalthea.engine.steps import state_of, train_step, variables_of
from amalthea.engine.structures import Structure, Structures

L = keras.layers
ROWS = np.zeros((6, 4, 4, 4, 2), "float32"), np.zeros((6, 3), "float32")


def with_layer(layer: Any, **dense: Any) -> list[Any]:
    return [layer, L.Flatten(), L.Dense(5, **dense), L.Dense(3)]


def with_sizes(layer: Any, *sizes: int) -> list[Any]:
    return [L.Reshape((*sizes, 2)), layer, L.Flatten(), L.Dense(3)]


def constrained(constraint: Any) -> list[Any]:
    return with_layer(L.Activation("tanh"), kernel_constraint=constraint)


def regularised(regularizer: Any) -> list[Any]:
    return with_layer(L.Activation("tanh"), kernel_regularizer=regularizer)


LAYERS: dict[str, Callable[[float], list[Any]]] = {
    "Dropout.rate": lambda v: with_layer(L.Dropout(v)),
    "SpatialDropout1D.rate": lambda v: with_sizes(L.SpatialDropout1D(v), 64),
    "SpatialDropout2D.rate": lambda v: with_sizes(L.SpatialDropout2D(v), 8, 8),
    "SpatialDropout3D.rate": lambda v: with_layer(L.SpatialDropout3D(v)),
    "GaussianDropout.rate": lambda v: with_layer(L.GaussianDropout(v)),
    "GaussianNoise.stddev": lambda v: with_layer(L.GaussianNoise(v)),
    "LeakyReLU.negative_slope": lambda v: with_layer(L.LeakyReLU(negative_slope=v)),
    "L2.l2": lambda v: regularised(keras.regularizers.L2(v)),
    "L1L2.l1": lambda v: regularised(keras.regularizers.L1L2(l1=v)),
    "L1L2.l2": lambda v: regularised(keras.regularizers.L1L2(l2=v)),
    "MaxNorm.max_value": lambda v: constrained(keras.constraints.MaxNorm(v)),
    "MinMaxNorm.min_value": lambda v: constrained(keras.constraints.MinMaxNorm(min_value=v)),
    "MinMaxNorm.max_value": lambda v: constrained(keras.constraints.MinMaxNorm(max_value=v)),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "weight_decay": {},
    "clipnorm": {},
    "global_clipnorm": {},
    "clipvalue": {},
    "ema_momentum": {"use_ema": True, "ema_overwrite_frequency": 2},
    "beta_1": {},
    "beta_2": {},
    "rho": {},
    "momentum": {},
    "epsilon": {},
}
OWN = {
    "SGD": ("momentum",),
    "RMSprop": ("rho", "momentum", "epsilon"),
    "Adagrad": ("epsilon",),
    "Adadelta": ("rho", "epsilon"),
    **dict.fromkeys(("Adam", "AdamW", "Adamax", "Nadam"), ("beta_1", "beta_2", "epsilon")),
}
OF_ALL = ("weight_decay", "clipnorm", "global_clipnorm", "clipvalue", "ema_momentum")
OPTIMIZERS: dict[str, Callable[[float], Any]] = {
    f"{kind}.{name}": lambda v, kind=kind, name=name: getattr(keras.optimizers, kind)(  # type: ignore[misc]
        **{name: v}, **SETTINGS[name]
    )
    for kind, own in OWN.items()
    for name in (*own, *OF_ALL)
}


def model_of(layers: list[Any], optimizer: Any = "adam") -> keras.Model:
    model = keras.Sequential([L.Input(ROWS[0].shape[1:]), *layers])
    model.compile(optimizer, "mse")
    return model


def with_number(name: str, value: float) -> keras.Model:
    if name in LAYERS:
        return model_of(LAYERS[name](value))
    return model_of(with_layer(L.Activation("tanh")), OPTIMIZERS[name](value))


def traced(build: Callable[..., keras.Model], *arguments: Any) -> tuple[Any, TracedStep]:
    with seeded(0), initial_values():
        model = build(*arguments)
        spelled = likeness(model, variables_of(model))
        model.fit(*ROWS, epochs=0, verbose=0)
    step = trace(lambda state, data: train_step(model, state, data), state_of(model), ROWS)
    return spelled, step


def of_numbers(*numbers: float) -> Measures:
    return Measures(numbers, (len(ROWS[0]),))


def measures_of(spelled: Likeness, n_rows: int = len(ROWS[0])) -> Measures:
    return Measures(spelled.numbers, (*spelled.sizes, n_rows))


def derived(samples: Samples, measures: Measures) -> TracedStep:
    step = samples.of(measures)
    assert step is not None
    return step


def test_every_number_of_keras_is_tried_here() -> None:
    def has(kind: type, name: str) -> bool:
        own = OWN.get(kind.__name__)
        return own is None or name in (*own, *OF_ALL)

    named = {
        f"{kind.__name__}.{name}"
        for kind, names in NUMBERS.items()
        for name in names
        if has(kind, name)
    }
    assert named == {*LAYERS, *OPTIMIZERS}


@pytest.mark.parametrize("name", [*LAYERS, *OPTIMIZERS])
def test_a_step_is_derived_just_as_it_would_be_traced(name: str) -> None:
    rng = np.random.default_rng(len(name))
    values = [0.5, 0.25, 0.1, 0.3, *rng.uniform(0.01, 0.99, size=4).tolist()]
    rng.shuffle(values)
    samples, forms = Samples(), set()
    n_derived = 0
    for value in values:
        spelled, step = traced(with_number, name, value)
        forms.add(spelled.form())
        found = samples.of(measures_of(spelled))
        if found is None:
            samples.add(measures_of(spelled), step)
        else:
            n_derived += 1
            assert found.key == step.key
            assert found.work == step.work and found.frame == step.frame
    assert len(forms) == 1
    # Where it is not yet clear what is computed in which precision, some more are traced.
    assert 3 <= n_derived <= len(values) - ENOUGH_VALUES


def test_a_derived_step_computes_what_it_should() -> None:
    def build(rate: float) -> keras.Model:
        return model_of(with_layer(L.Dropout(rate)), keras.optimizers.SGD(0.1, momentum=rate / 2))

    samples = Samples()
    for rate in (0.1, 0.2, 0.3):
        spelled, step = traced(build, rate)
        samples.add(measures_of(spelled), step)
    with seeded(0):
        model = build(0.45)
        spelled = likeness(model, variables_of(model))
        x, y = (np.random.default_rng(0).normal(size=part.shape).astype("f4") for part in ROWS)
        model.fit(x, y, epochs=0, verbose=0)
    assert spelled is not None
    ours, logs = derived(samples, measures_of(spelled))(state_of(model), (x, y))
    theirs, their_logs = train_step(model, state_of(model), (x, y))
    for one, other in zip(ours.trainable, theirs.trainable, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(logs["loss"], their_logs["loss"], rtol=1e-6)


def two_numbers(rate: float, norm: float) -> keras.Model:
    constraint = keras.constraints.MaxNorm(norm)
    return model_of(with_layer(L.Dropout(rate), kernel_constraint=constraint))


def test_a_number_that_was_not_seen_often_enough_is_traced() -> None:
    samples = Samples()

    def add(*numbers: float) -> Measures:
        spelled, step = traced(two_numbers, *numbers)
        samples.add(measures_of(spelled), step)
        return measures_of(spelled)

    def all_numbers(*numbers: float) -> Measures:
        new = {0.1: numbers[0], 1.0: numbers[1]}
        return first._replace(numbers=tuple(new.get(number, number) for number in first.numbers))

    first = add(0.1, 1.0)
    add(0.1, 2.0)
    assert samples.of(all_numbers(0.1, 4.0)) is None
    add(0.1, 3.0)
    assert samples.of(all_numbers(0.1, 4.0)) is not None
    assert samples.of(all_numbers(0.2, 4.0)) is None
    add(0.2, 1.0)
    _, step = traced(two_numbers, 0.2, 5.0)
    assert derived(samples, all_numbers(0.2, 5.0)).key == step.key


@pytest.mark.parametrize("share", [lambda v: 0.7 * v, lambda v: v**3], ids=["product", "cube"])
def test_what_nothing_explains_is_traced(share: Callable[[float], float]) -> None:
    """As if Keras made something of a number that is not foreseen."""
    samples = Samples()
    for value in (0.1, 0.2, 0.3, 0.4):
        _, step = traced(model_of, with_layer(L.Dropout(share(value))))
        samples.add(of_numbers(value), step)
    assert samples.of(of_numbers(0.5)) is None


@pytest.mark.parametrize(("rate", "others"), [(0.0, 0.1), (0.1, 0.0)])
def test_what_is_computed_otherwise_has_another_form(rate: float, others: float) -> None:
    one, other = (
        traced(model_of, with_layer(L.GaussianNoise(value)))[0] for value in (rate, others)
    )
    assert one.form() != other.form()


def test_steps_that_differ_in_more_than_scalars_are_no_samples_of_each_other() -> None:
    samples = Samples()
    for value, width in ((0.1, 5), (0.2, 5), (0.3, 6)):
        layers = [L.Dropout(value), L.Flatten(), L.Dense(width), L.Dense(3)]
        _, step = traced(model_of, layers)
        samples.add(of_numbers(value), step)
    assert samples.of(of_numbers(0.4)) is None


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batches that steps are traced on, by their size."""
    sizes: list[int] = []

    def noting(function: Any, state: Any, data: Any) -> TracedStep:
        sizes.append(len(data[0]))
        return trace(function, state, data)

    monkeypatch.setattr(structures, "trace", noting)
    return sizes


def structure_of(known: Structures, rate: float, n_rows: int) -> Structure:
    with seeded(0):
        model = model_of(with_layer(L.Dropout(rate)))
    rows = Rows(np.zeros((n_rows, 4, 4, 4, 2), "float32"), np.zeros((n_rows, 3), "float32"))
    request = FitRequest(model, rows, seed=0, epochs=1, batch_size=4)
    return known.of_fit(request, known.likeness_of(request, {}))[0]


def test_folds_of_other_sizes_share_the_steps_that_they_have_in_common(sizes: list[int]) -> None:
    known = Structures()
    first, other, whole = (structure_of(known, 0.5, n_rows) for n_rows in (9, 11, 12))
    assert sizes == [4, 1, 4 - 1]
    assert len({first.key, other.key, whole.key}) == 3
    alone = structure_of(Structures(), 0.5, 12)
    assert alone.key == whole.key
    for one, same in zip(whole.no_metrics, alone.no_metrics, strict=True):
        np.testing.assert_array_equal(one, same)


def test_after_some_rates_no_other_is_traced(sizes: list[int]) -> None:
    known = Structures()
    for rate in (0.11, 0.23, 0.37, 0.41, 0.59):
        structure_of(known, rate, 9)
    del sizes[:]
    derived = structure_of(known, 0.23 + 0.05, 9)
    assert sizes == []
    assert derived.key == structure_of(Structures(), 0.23 + 0.05, 9).key


def test_no_more_steps_are_kept_than_allowed(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_steps, "KEPT", 4)
    known = Structures()
    for n_rows in (5, 6, 7, 8, 9, 10):  # a whole batch, and rests of 1, 2 and 3
        structure_of(known, 0.5, n_rows)
    assert sum(map(len, known._steps._samples.values())) <= 4
    assert sorted(set(sizes)) == [1, 2, 3, 4]
