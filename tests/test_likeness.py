"""Equal likeness means equal programs; a difference that tracing can see is in the likeness."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest

from amalthea.engine import structures
from amalthea.engine.likeness import likeness
from amalthea.engine.requests import FitRequest
from amalthea.engine.rows import Rows
from amalthea.engine.seeding import seeded
from amalthea.engine.steps import variables_of
from amalthea.engine.structures import Structures
from kinds_of_models import MODELS, OPTIMIZERS

L = keras.layers


def spelled(
    build: Callable[[], keras.Model], seed: int = 0, optimizer: Any = keras.optimizers.Adam
) -> Any:
    with seeded(seed):
        model = build()
        if getattr(model, "optimizer", None) is None:
            model.compile(optimizer(), loss="mse", metrics=["mae"])
    return likeness(model, variables_of(model))


def symbol(array: Any) -> Any:
    return keras.KerasTensor((None, *array.shape[1:]), array.dtype.name)


def plain(**dense: Any) -> keras.Model:
    return keras.Sequential([L.Input((4,)), L.Dense(3, **dense), L.Dropout(0.2), L.Dense(1)])


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_is_like_itself_under_another_seed(kind: str) -> None:
    build, make = MODELS[kind]
    x = make(np.random.default_rng(0))

    def built() -> keras.Model:
        model = build()
        model(keras.tree.map_structure(symbol, x))
        return model

    one, other = spelled(built), spelled(built, seed=1)
    of_ones_own = ("custom layer", "subclassed, with a loss of its own")
    assert (one is None) == (kind in of_ones_own)
    assert one == other


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_like_itself(name: str) -> None:
    one, other = (spelled(plain, optimizer=OPTIMIZERS[name]) for _ in range(2))
    assert one is not None and one == other


METRICS: dict[str, Callable[[], Any]] = {
    "AUC": lambda: keras.metrics.AUC(num_thresholds=20),
    "precision": lambda: keras.metrics.Precision(0.5),
    "other precision": lambda: keras.metrics.Precision(0.6),
    "several": lambda: [keras.metrics.Precision(0.5), keras.metrics.R2Score()],
    "swapped": lambda: [keras.metrics.R2Score(), keras.metrics.Precision(0.5)],
    "by name": lambda: "precision",
}


def judged(metrics: Any) -> keras.Model:
    model = plain()
    model.compile("sgd", "mse", metrics=metrics if isinstance(metrics, list) else [metrics])
    return model


def test_metrics_that_are_objects_are_told_by_their_settings() -> None:
    found = {name: spelled(lambda make=make: judged(make())) for name, make in METRICS.items()}
    assert None not in found.values()
    assert len(set(found.values())) == len(METRICS)
    for name, make in METRICS.items():
        assert spelled(lambda make=make: judged(make()), seed=1) == found[name]


def test_a_metric_that_only_a_layer_holds_is_not_spelled() -> None:
    """Nothing says that its variables are arguments of a step."""
    model = plain()
    object.__setattr__(model.layers[0], "held", [keras.metrics.Mean()])
    assert spelled(lambda: model) is None


@pytest.mark.parametrize("size", [4, 2000])
def test_constants_of_a_layer_are_told_by_their_numbers(size: int) -> None:
    def scaled(mean: float) -> keras.Model:
        layer = L.Normalization(mean=[mean] * size, variance=[1.0] * size)
        return keras.Sequential([L.Input((size,)), layer, L.Dense(1)])

    same, other = spelled(lambda: scaled(1.0)), spelled(lambda: scaled(2.0))
    assert (same is None) == (size > 1024)
    assert same is None or (same == spelled(lambda: scaled(1.0)) and same != other)


@pytest.mark.parametrize(
    "values",
    [
        (0.0, -0.0),
        (np.float32(0.0), np.float32(-0.0)),
        (np.float32(2), np.float16(2), np.int32(2), 2.0, 2),
    ],
    ids=["zeros", "zeros of NumPy", "types"],
)
def test_equal_numbers_that_compute_otherwise_are_told_apart(values: tuple[Any, ...]) -> None:
    def moved(offset: Any) -> keras.Model:
        rescaling = L.Rescaling(1.0, offset)
        assert rescaling.offset is offset
        return keras.Sequential([L.Input((4,)), rescaling, L.Dense(1)])

    found = [spelled(lambda value=value: moved(value)) for value in values]
    assert len(set(found)) == len(values)
    assert found == [spelled(lambda value=value: moved(value)) for value in values]


def test_a_learning_rate_is_no_part_of_it() -> None:
    rates = [spelled(plain, optimizer=partial(keras.optimizers.Adam, rate)) for rate in (0.1, 0.2)]
    assert rates[0] == rates[1]


def changed(change: Callable[[keras.Model], None]) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        model = plain()
        model.compile("adam", loss="mse", metrics=["mae"])
        change(model)
        return model

    return build


def set_rate(model: keras.Model) -> None:
    model.layers[1].rate = 0.5


def set_activation(model: keras.Model) -> None:
    model.layers[0].activation = keras.activations.relu


def freeze(model: keras.Model) -> None:
    model.layers[0].trainable = False


def mask(model: keras.Model) -> None:
    model.layers[0].supports_masking = False


def weigh(model: keras.Model) -> None:
    model.compile("adam", loss="mse", metrics=["mae"], loss_weights=0.5)


def clip(model: keras.Model) -> None:
    model.compile(keras.optimizers.Adam(clipnorm=1.0), loss="mse", metrics=["mae"])


DIFFERENT: dict[str, Callable[[], keras.Model]] = {
    "another rate": lambda: keras.Sequential(
        [L.Input((4,)), L.Dense(3), L.Dropout(0.3), L.Dense(1)]
    ),
    "another width": lambda: keras.Sequential(
        [L.Input((4,)), L.Dense(4), L.Dropout(0.2), L.Dense(1)]
    ),
    "an activation": lambda: plain(activation="relu"),
    "a regulariser": lambda: plain(kernel_regularizer=keras.regularizers.L2(0.1)),
    "a constraint": lambda: plain(kernel_constraint=keras.constraints.MaxNorm(1)),
    "no bias": lambda: plain(use_bias=False),
    "a dtype": lambda: plain(dtype="float16"),
    "a rate set afterwards": changed(set_rate),
    "an activation set afterwards": changed(set_activation),
    "a frozen layer": changed(freeze),
    "an attribute of a layer": changed(mask),
    "weights of losses": changed(weigh),
    "a clipped gradient": changed(clip),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_whatever_tracing_sees_makes_a_difference(name: str) -> None:
    assert spelled(DIFFERENT[name]) != spelled(changed(lambda model: None))


INITIALISERS = ["zeros", "he_normal", "lecun_uniform", keras.initializers.RandomNormal(0.0, 0.1)]


@pytest.mark.parametrize("initialiser", INITIALISERS, ids=["zeros", "he", "lecun", "normal"])
def test_which_initialiser_it_was_makes_none(initialiser: Any) -> None:
    """The weights are arguments of a step, and what they came from is spent."""
    other = spelled(lambda: plain(kernel_initializer=initialiser, bias_initializer="ones"))
    assert other == spelled(plain)


def test_models_of_several_initialisers_are_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[Any] = []
    trace = structures.trace
    monkeypatch.setattr(structures, "trace", lambda *given: traced.append(given) or trace(*given))
    rows, known = Rows(np.zeros((6, 4), "float32"), np.zeros((6, 1), "float32")), Structures()
    for initialiser in INITIALISERS:
        with seeded(0):
            model = plain(kernel_initializer=initialiser)
            model.compile("adam", loss="mse")
        request = FitRequest(model, rows, 0, 1, batch_size=3)
        known.of_fit(request, known.likeness_of(request, {}))
    assert len(traced) == 1


def swap_call(model: keras.Model) -> None:
    layer = model.layers[0]
    layer.call = lambda x: keras.ops.zeros_like(x)


@pytest.mark.parametrize(
    "build",
    [
        lambda: plain(activation=lambda x: x * 2),
        lambda: keras.Sequential([L.Input((4,)), L.Lambda(lambda x: x + 1), L.Dense(1)]),
        changed(swap_call),
        changed(lambda m: m.compile("adam", loss=lambda y, p: keras.ops.mean((y - p) ** 2))),
        changed(lambda m: m.compile("adam", loss="mse", metrics=[lambda y, p: p[:, 0]])),
    ],
    ids=["activation", "lambda layer", "replaced call", "loss", "metric"],
)
def test_code_of_ones_own_has_no_likeness(build: Any) -> None:
    assert spelled(build) is None
