"""Fits go on from where an earlier one was that went the same way, and nobody can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import keras
import numpy as np
import pytest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

import amalthea
from amalthea import KerasClassifier
from amalthea.engine import members
from amalthea.engine.forms import Engine, forget_programs
from amalthea.engine.reached import Reached, point
from amalthea.engine.requests import FitRequest
from amalthea.engine.rows import Rows
from amalthea.engine.steps import State
from engine_and_keras import assert_equal, assert_same_history, by_keras, trained
from kinds_of_models import MODELS, OPTIMIZERS, SEED, cut, data_for, seeded_model, table

ENGINE = Engine()


@pytest.fixture(autouse=True)
def epochs_trained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The epochs for which an order was asked."""
    forget_programs()
    asked: list[int] = []
    order = members.epoch_order
    monkeypatch.setattr(
        members,
        "epoch_order",
        lambda n, epoch, seed: (asked.append(epoch), order(n, epoch, seed))[1],
    )
    yield asked
    forget_programs()


def model_of(kind: str = "dropout", optimizer: str = "Adam") -> keras.Model:
    return seeded_model(MODELS[kind][0], OPTIMIZERS[optimizer])


def request(model: keras.Model, epochs: int, rows: Rows | None = None, **more: Any) -> FitRequest:
    more = {"batch_size": 16, **more}
    return FitRequest(model, rows or data_for(table), SEED, epochs, **more)


@pytest.mark.parametrize("optimizer", ["Adam", "moving average", "accumulation", "schedule"])
@pytest.mark.parametrize("kind", ["dropout", "batch normalisation"])
def test_more_epochs_go_on_and_give_what_keras_gives(
    kind: str, optimizer: str, epochs_trained: list[int]
) -> None:
    rows, held = data_for(table, weighted=True), data_for(table)
    more = {"validation": held, "validation_freq": 2}
    trained(ENGINE, request(model_of(kind, optimizer), 3, rows, **more))
    epochs_trained.clear()
    ours, theirs = model_of(kind, optimizer), model_of(kind, optimizer)
    result = trained(ENGINE, request(ours, 6, rows, **more))
    assert set(epochs_trained) == {3, 4, 5}
    validation = {"validation_data": (held.x, held.y), "validation_freq": 2}
    assert_same_history(result, by_keras(theirs, rows, epochs=6, batch_size=16, **validation))
    assert_equal(ours, theirs)


def test_several_go_on_together_each_from_its_own_place(epochs_trained: list[int]) -> None:
    for epochs in (2, 3):
        trained(ENGINE, request(model_of("dropout"), epochs, cut(data_for(table), 40 + epochs)))
    epochs_trained.clear()
    rows, several = data_for(table), (2, 3, 4)
    models = [model_of("dropout") for _ in several]
    parts = [cut(rows, 40 + n) for n in several]
    results = ENGINE.train([request(m, 5, part) for m, part in zip(models, parts, strict=True)])
    for ours, part, result in zip(models, parts, results, strict=True):
        theirs = model_of("dropout")
        assert_same_history(result, by_keras(theirs, part, epochs=5, batch_size=16))
        assert_equal(ours, theirs)


CHANGES: dict[str, Callable[[FitRequest], FitRequest]] = {
    "seed": lambda r: replace(r, seed=SEED + 1),
    "order": lambda r: replace(r, shuffle=False),
    "batches": lambda r: replace(r, batch_size=17),
    "rows": lambda r: replace(r, training=replace(r.training, x=r.training.x + 1)),
    "labels": lambda r: replace(r, training=replace(r.training, y=r.training.y[::-1].copy())),
    "weights of rows": lambda r: replace(r, training=data_for(table, weighted=True)),
    "validation": lambda r: replace(r, validation=data_for(table)),
    "initial weights": lambda r: replace(r, model=_nudged(model_of())),
    "optimizer": lambda r: replace(r, model=model_of(optimizer="Nadam")),
    "model": lambda r: replace(r, model=model_of("layer normalisation")),
    "callbacks": lambda r: replace(r, callbacks=[keras.callbacks.TerminateOnNaN()]),
    "fewer epochs": lambda r: replace(r, epochs=2),
    "as many epochs": lambda r: replace(r, epochs=3),
}


def _nudged(model: keras.Model) -> keras.Model:
    model.build((None, *data_for(table).x.shape[1:]))
    first = model.trainable_variables[0]
    first.assign(np.asarray(first.value) + np.float32(1e-6))
    return model


@pytest.mark.parametrize("change", CHANGES)
def test_a_fit_that_differs_begins_at_the_beginning(change: str, epochs_trained: list[int]) -> None:
    trained(ENGINE, request(model_of(), 3))
    epochs_trained.clear()
    another = CHANGES[change](request(model_of(), 6))
    trained(ENGINE, another)
    if another.shuffle:
        assert 0 in epochs_trained
    else:
        assert another.model.optimizer.iterations.value == 6 * -(-len(another.training) // 16)


def test_on_many_rows_a_fit_begins_at_the_beginning(
    epochs_trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amalthea.engine.training.MOST_BYTES_TOLD", 100)
    trained(ENGINE, request(model_of(), 2))
    epochs_trained.clear()
    trained(ENGINE, request(model_of(), 4))
    assert set(epochs_trained) == {0, 1, 2, 3}


def test_outside_of_a_search_a_fit_is_trained_from_its_beginning(
    iris: Any, epochs_trained: list[int]
) -> None:
    estimator = KerasClassifier(build, epochs=2, random_state=0)
    estimator.fit(*iris)
    epochs_trained.clear()
    estimator.set_params(epochs=4).fit(*iris)
    assert set(epochs_trained) == {0, 1, 2, 3}


def build(units: int = 4, rate: float = 0.01) -> keras.Model:
    L = keras.layers
    model = keras.Sequential(
        [L.Input((4,)), L.Dense(units, "relu"), L.Dropout(0.1), L.Dense(3, "softmax")]
    )
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    return model


def test_halving_over_epochs_trains_each_epoch_once(iris: Any, epochs_trained: list[int]) -> None:
    space = {"units": [3, 4], "rate": [0.01, 0.03]}
    halving: Any = {"resource": "epochs", "min_resources": 2, "max_resources": 8, "factor": 2}
    estimator = KerasClassifier(build, random_state=0)
    search = amalthea.HalvingGridSearchCV(estimator, space, cv=3, refit=False, **halving)
    search.fit(*iris)
    assert epochs_trained == list(range(8))
    one_by_one = amalthea.HalvingGridSearchCV(estimator, space, cv=3, refit=False, **halving)
    with amalthea.lockstep(form="keras"):
        one_by_one.fit(*iris)
    assert search.best_params_ == one_by_one.best_params_
    for name in ("mean_test_score", "n_resources"):
        np.testing.assert_array_equal(search.cv_results_[name], one_by_one.cv_results_[name])


def test_a_search_that_is_repeated_with_more_epochs_goes_on(
    iris: Any, epochs_trained: list[int]
) -> None:
    def searched(epochs: int) -> Any:
        estimator = KerasClassifier(build, epochs=epochs, random_state=0)
        return amalthea.GridSearchCV(estimator, {"rate": [0.01]}, cv=3).fit(*iris)

    searched(3)
    epochs_trained.clear()
    search = searched(6)
    assert set(epochs_trained) == {3, 4, 5}
    assert len(search.best_estimator_.history_["loss"]) == search.best_estimator_.n_epochs_ == 6
    alone = KerasClassifier(build, epochs=6, random_state=0, **search.best_params_).fit(*iris)
    theirs = alone.predict_proba(iris[0])
    np.testing.assert_allclose(search.predict_proba(iris[0]), theirs, rtol=1e-4, atol=1e-6)


def test_fits_that_go_the_same_way_start_at_the_same_place(
    iris: Any, epochs_trained: list[int]
) -> None:
    """One is trained for all of them, and a repeated search needs no other programs."""
    estimator = KerasClassifier(build, random_state=0)
    search = amalthea.GridSearchCV(estimator, {"epochs": [2, 4]}, cv=3, refit=False)
    first = search.fit(*iris).cv_results_["mean_test_score"]
    for _ in range(2):
        epochs_trained.clear()
        assert search.fit(*iris).programs_ == 0
        np.testing.assert_allclose(search.cv_results_["mean_test_score"], first)
        assert epochs_trained == [0, 1, 2, 3]


def test_points_are_bounded_and_the_least_used_go() -> None:
    def here(epoch: int) -> Any:
        return point(epoch, State([np.zeros(1000)], [], [], []), {"loss": [0.0]}, [0])

    reached = Reached(most_bytes=3 * here(1).n_bytes)
    for way in "abc":
        reached.add(way, here(1))
    assert reached.before("a", 2) is not None
    reached.add("d", here(1))
    assert [way for way in "abcd" if reached.before(way, 2)] == ["a", "c", "d"]
    assert reached.before("a", 1) is None


def test_a_point_shares_nothing_with_what_it_was_made_from() -> None:
    whole, history = np.zeros((64, 3)), {"loss": [1.0]}
    here = point(1, State([whole[0]], [], [], [np.ones(2)]), history, [0])
    whole += 1
    history["loss"].append(2.0)
    assert here.state.trainable[0].base is None and not here.state.trainable[0].any()
    assert here.history == {"loss": [1.0]} and here.state.metrics == []


def test_another_generator_of_random_bits_is_another_way(epochs_trained: list[int]) -> None:
    """The text of a step does not show it."""

    def losses(epochs: int, partitionable: bool) -> Any:
        with jax.threefry_partitionable(partitionable):
            return trained(ENGINE, request(model_of("dropout"), epochs)).history["loss"]

    losses(2, True)
    ours = losses(4, False)
    forget_programs()
    np.testing.assert_allclose(ours, losses(4, False), rtol=1e-6)
    assert not np.allclose(ours, losses(4, True), rtol=1e-3)
