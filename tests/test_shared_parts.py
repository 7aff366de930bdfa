"""Parts of a step that models have in common are traced once, and do what each model's own do."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np
import pytest

from amalthea.engine import shared_parts
from amalthea.engine.forms import forget_programs
from amalthea.engine.requests import FitRequest
from amalthea.engine.rows import Rows
from amalthea.engine.structures import Structure, Structures
from engine_and_keras import assert_equal, assert_same_history, by_engine, by_keras
from kinds_of_models import OPTIMIZERS, N, seeded_model

L = keras.layers
REPLACED = ("compute_loss", "compute_metrics")


def dense(units: int = 4, activation: str = "relu", **more: Any) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        keras.utils.clear_session()
        return keras.Sequential(
            [L.Input((6,)), L.Dense(units, activation, **more), L.Dense(3, "softmax")]
        )

    return build


def rows(y: Any = None, weights: Any = None) -> Rows:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, N).astype("int32") if y is None else y
    return Rows(rng.normal(size=(N, 6)).astype("float32"), y, weights)


def structure_of(
    known: Structures,
    build: Callable[[], keras.Model] = dense(),  # noqa: B008
    optimizer: Any = keras.optimizers.Adam,
    batch_size: int = 16,
    **compiling: Any,
) -> Structure:
    model = seeded_model(build, optimizer, **compiling)
    request = FitRequest(model, rows(), seed=0, epochs=1, batch_size=batch_size)
    structure, _ = known.of_fit(request, known.likeness_of(request, {}))
    assert "stateless_apply" not in vars(model.optimizer)
    assert vars(model).keys().isdisjoint(REPLACED)
    return structure


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the methods of Keras whose parts are traced."""
    names: list[str] = []
    trace = shared_parts._Part._traced

    def noting(self: Any, *given: Any) -> Any:
        names.append("update" if self._at_once else "loss or metrics")
        return trace(self, *given)

    monkeypatch.setattr(shared_parts._Part, "_traced", noting)
    return names


def test_an_update_is_traced_once_for_models_whose_weights_are_alike(traced: list[str]) -> None:
    known = Structures()
    for activation in ("relu", "tanh"):
        structure_of(known, dense(4, activation))
    assert traced.count("update") == 1  # for whole and for short batches
    structure_of(known, dense(5))
    assert traced.count("update") == 2


def test_losses_and_metrics_are_traced_once_for_each_size_of_batch(traced: list[str]) -> None:
    known = Structures()
    structure_of(known, dense(4))
    assert traced.count("loss or metrics") == 2 * 2
    structure_of(known, dense(5))
    structure_of(known, dense(6, "tanh"))
    assert traced.count("loss or metrics") == 2 * 2
    structure_of(known, dense(4), batch_size=10)  # which leaves no short batch
    assert traced.count("loss or metrics") == 3 * 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Adam", "Ftrl", "moving average", "clipping", "accumulation"])
def test_with_shared_parts_a_step_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Structures()
    structure_of(known, dense(4), OPTIMIZERS[name])
    shared = structure_of(known, dense(4, "tanh"), OPTIMIZERS[name])
    monkeypatch.setattr(shared_parts, "likeness", lambda *_: None)
    own = structure_of(Structures(), dense(4, "tanh"), OPTIMIZERS[name])
    rng = np.random.default_rng(0)
    like = own.train.all[0].result_like[0]
    state = jax.tree.map(lambda one: rng.integers(0, 9, one.shape).astype(one.dtype), like)
    for one, other in zip(shared.train.all, own.train.all, strict=True):
        given = jax.tree.leaves((state, rows().take(np.arange(one.n_rows))))
        # Operation by operation, without a compiler that rounds as it likes.
        jax.tree.map(np.testing.assert_array_equal, one.flat(*given), other.flat(*given))


COMPILED: dict[str, list[dict[str, Any]]] = {
    "smoothing": [
        {"loss": keras.losses.CategoricalCrossentropy(label_smoothing=s)} for s in (0.0, 0.1, 0.3)
    ],
    "classes": [
        {"loss": keras.losses.SparseCategoricalCrossentropy(ignore_class=c)} for c in (None, 0, 2)
    ],
    "reductions": [
        {"loss": keras.losses.SparseCategoricalCrossentropy(reduction=r)}
        for r in ("sum", "sum_over_batch_size", "mean_with_sample_weight")
    ],
    "weights": [
        {"loss": ["sparse_categorical_crossentropy"], "loss_weights": [w]} for w in (1.0, 0.5)
    ],
    "metrics": [
        {"metrics": m}
        for m in (
            [],
            ["accuracy"],
            [keras.metrics.SparseTopKCategoricalAccuracy(2)],
            [keras.metrics.SparseTopKCategoricalAccuracy(1, name="first")],
        )
    ],
    "weighted metrics": [
        {"metrics": ["accuracy"]},
        {"metrics": None, "weighted_metrics": ["accuracy"]},
    ],
    "regularizers": [{}, {"kernel_regularizer": "l2"}, {"activity_regularizer": "l1"}],
}


@pytest.mark.slow
@pytest.mark.parametrize("what", COMPILED)
def test_models_with_other_losses_and_metrics_have_parts_of_their_own(what: str) -> None:
    forget_programs()
    for compiled in COMPILED[what]:
        layer = {name: value for name, value in compiled.items() if name.endswith("regularizer")}
        compiling = {name: value for name, value in compiled.items() if name not in layer}
        y = None
        if what == "smoothing":
            y = np.eye(3, dtype="float32")[rows().y]
        data = rows(y, np.linspace(0.1, 2, N).astype("float32"))
        build, adam = dense(**layer), OPTIMIZERS["Adam"]
        ours, theirs = (seeded_model(build, adam, **compiling) for _ in range(2))
        assert_same_history(by_engine(ours, data), by_keras(theirs, data))
        assert_equal(ours, theirs)


def test_masks_reach_losses_and_metrics() -> None:
    """A mask comes with the outputs, beside their values."""
    forget_programs()

    def masked(masks: bool) -> keras.Model:
        keras.utils.clear_session()
        mask = [L.Masking(0.0)] if masks else []
        return keras.Sequential([L.Input((5, 2)), *mask, L.Dense(4, "relu"), L.Dense(3, "softmax")])

    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 5, 2)).astype("float32")
    x[:, 3:] *= rng.integers(0, 2, size=(N, 1, 1))
    data = Rows(x, rng.integers(0, 3, size=(N, 5)).astype("int32"))
    losses = []
    for masks in (False, True):
        ours, theirs = (
            seeded_model(lambda m=masks: masked(m), OPTIMIZERS["Adam"]) for _ in range(2)
        )
        result, history = by_engine(ours, data), by_keras(theirs, data)
        assert_same_history(result, history)
        assert_equal(ours, theirs)
        losses.append(result.history["loss"][-1])
    assert losses[0] != losses[1]


PATCHED = {
    "an update": (keras.optimizers.Optimizer, "scale_loss"),
    "a loss": (keras.losses.Loss, "__call__"),
    "metrics": (keras.metrics.Mean, "result"),
    "a model": (keras.Model, "compute_loss"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", PATCHED)
def test_what_was_traced_under_a_patch_is_not_shared_later(what: str) -> None:
    of, name = PATCHED[what]
    known = Structures()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of, name, times(3, getattr(of, name)))
        patched = structure_of(known).key
    for build, batch_size in ((dense(), 10), (dense(4, "tanh"), 16)):
        key = structure_of(known, build, batch_size=batch_size).key
        assert key == structure_of(Structures(), build, batch_size=batch_size).key
    assert patched != structure_of(Structures()).key


@pytest.mark.parametrize("name", ["compute_loss", "compute_metrics", "get_metrics_result"])
def test_what_a_builder_puts_on_its_model_is_used(name: str) -> None:
    known = Structures()
    plain = structure_of(known).key

    def build() -> keras.Model:
        model = dense()()
        own = getattr(model, name)
        setattr(model, name, lambda *args, **named: jax.tree.map(twice, own(*args, **named)))
        return model

    model = seeded_model(build, keras.optimizers.Adam)
    request = FitRequest(model, rows(), seed=0, epochs=1, batch_size=16)
    structure, _ = known.of_fit(request, known.likeness_of(request, {}))
    assert structure.key != plain
    assert name in vars(model)


def twice(x: Any) -> Any:
    return 2 * x


class Own(L.Layer):
    """A layer of the user's own: no likeness tells what it does."""

    def call(self, x: Any) -> Any:
        return x + 1


def test_losses_and_metrics_of_models_with_something_of_the_users_are_their_own(
    traced: list[str],
) -> None:
    def build() -> keras.Model:
        keras.utils.clear_session()
        return keras.Sequential([L.Input((6,)), Own(), L.Dense(3, "softmax")])

    structure_of(Structures(), build)
    assert traced == ["update"]


def test_a_patch_that_comes_after_another_one_is_noticed_too() -> None:
    """A function that replaces one that is gone may stand at its address."""
    known, own = Structures(), keras.losses.Loss.__call__
    for factor in (1, 5, 9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keras.losses.Loss, "__call__", times(factor, own))
            known._known.clear()  # the model is like the one before, and its loss is not
            known._steps.clear()
            ours, fresh = (structure_of(one, dense(5, "tanh")) for one in (known, Structures()))
            assert ours.key == fresh.key


def times(factor: float, own: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **named: factor * own(*args, **named)


def test_parts_do_not_hold_the_models_that_they_came_from() -> None:
    known = Structures()
    model = seeded_model(dense(), keras.optimizers.Adam)
    request = FitRequest(model, rows(), seed=0, epochs=1, batch_size=16)
    known.of_fit(request, known.likeness_of(request, {}))
    known._known.clear()  # whose metrics are those of the model
    known._begun.clear()
    one = weakref.ref(model)
    del model, request
    gc.collect()
    assert one() is None
