"""Weights, validation rows, and what a fit hands to the engine."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import amalthea
import builders
from amalthea import KerasClassifier, KerasRegressor
from amalthea.engine.requests import FitRequest, FitResult
from amalthea.engine.trainer import training_with
from amalthea.errors import InvalidData, InvalidParameter
from amalthea.estimators.holdout import hold_out
from amalthea.estimators.weights import read_weights, with_class_weights
from trainers import OneByOne


class Recorder(OneByOne):
    """A trainer that trains nothing and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[FitRequest] = []

    def fit(self, request: FitRequest) -> FitResult:
        self.requests.append(request)
        epochs = list(range(request.initial_epoch, request.epochs))
        return FitResult({"loss": [1.0 for _ in epochs]}, epochs)

    def answer(self, request: Any) -> Any:
        return np.zeros((len(request.x), 3), dtype="float32")


def requested(X: Any, y: Any, *fit: Any, **parameters: Any) -> FitRequest:
    named = {n: parameters.pop(n) for n in ("validation_data",) if n in parameters}
    recorder = Recorder()
    with training_with(recorder):
        estimator = KerasClassifier(builders.classifier, **{"random_state": 0, **parameters})
        estimator.fit(X, y, *fit, **named)
    return recorder.requests[-1]


def test_the_current_trainer_gets_the_request_and_another_thread_of_control_does_not(
    iris: Any,
) -> None:
    request = requested(*iris, epochs=4, batch_size=10, shuffle=False, validation_batch_size=7)
    assert (request.epochs, request.batch_size, request.shuffle) == (4, 10, False)
    assert (request.seed, request.initial_epoch, request.validation) == (0, 0, None)
    assert request.validation_batch_size == 7
    assert len(request.training) == 150
    assert request.model.compiled and request.model.built


def test_warm_starts_ask_for_further_epochs(iris: Any) -> None:
    recorder = Recorder()
    with training_with(recorder):
        estimator = KerasClassifier(
            builders.classifier, epochs=3, warm_start=True, random_state=0
        ).fit(*iris)
        estimator.fit(*iris).partial_fit(*iris)
    asked = [(request.initial_epoch, request.epochs) for request in recorder.requests]
    assert asked == [(0, 3), (3, 6), (6, 7)]
    assert estimator.n_epochs_ == 7 == len(estimator.history_["loss"])
    assert len({id(request.model) for request in recorder.requests}) == 1


def test_a_validation_split_is_seeded_stratified_and_never_trained_on(iris: Any) -> None:
    X, y = iris
    request = requested(X, y, validation_split=0.2)
    again = requested(X, y, validation_split=0.2)
    other = requested(X, y, validation_split=0.2, random_state=1)
    assert request.validation is not None and again.validation is not None
    assert np.array_equal(request.validation.x, again.validation.x)
    assert not np.array_equal(request.validation.x, other.validation.x)  # type: ignore[union-attr]
    assert np.bincount(request.validation.y).tolist() == [10, 10, 10]
    rows = np.concatenate([request.training.x, request.validation.x])
    assert np.array_equal(np.sort(rows, axis=0), np.sort(X, axis=0))


def test_rows_that_are_left_keep_their_order(iris: Any) -> None:
    train, held = hold_out(20, 0.25, seed=3)
    assert (np.diff(train) > 0).all() and (np.diff(held) > 0).all()
    assert np.array_equal(np.sort(np.concatenate([train, held])), np.arange(20))


def test_a_class_of_one_row_stays_in_training() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [2])
    train, held = hold_out(21, 0.2, seed=0, labels=labels)
    assert 20 in train and len(held) == 4


def test_too_few_rows_for_a_validation_part_are_told() -> None:
    with pytest.raises(InvalidParameter, match="4 rows cannot be split"):
        hold_out(4, 0.25, seed=0, labels=np.array([0, 0, 1, 1]))


def test_validation_data_and_its_weights_reach_the_engine(iris: Any) -> None:
    X, y = iris
    request = requested(X, y, validation_data=(X[:9], y[:9], np.arange(1, 10)))
    assert request.validation is not None
    assert len(request.validation) == 9
    assert request.validation.sample_weight.tolist() == list(range(1, 10))


def test_weights_of_rows_and_classes_are_multiplied_and_the_callers_are_not_touched(
    iris: Any,
) -> None:
    X, y = iris
    mine = np.linspace(1, 2, 150)
    before = mine.copy()
    request = requested(X, y, mine, class_weight={0: 2.0, 1: 1.0, 2: 0.5})
    expected = before * np.array([2.0, 1.0, 0.5])[y]
    np.testing.assert_allclose(request.training.sample_weight, expected, rtol=1e-6)
    assert np.array_equal(mine, before)


def test_balanced_weights_count_the_rows_that_are_trained_on() -> None:
    weights = with_class_weights(None, "balanced", np.array(["a", "a", "a", "b"]), ["a", "b"])
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2 / 3, 2.0], rtol=1e-6)


def test_class_weights_by_label_and_for_one_hot_targets(iris: Any) -> None:
    X, y = iris
    request = requested(X, np.eye(3)[y], class_weight={0: 3.0, 1: 1.0, 2: 1.0})
    assert request.training.sample_weight[y == 0].tolist() == [3.0] * 50
    assert (request.training.sample_weight[y != 0] == 1).all()


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([1.0, 2.0], "one weight a row"),
        ([1.0, np.nan, 1.0], "NaN or infinity"),
        ([0.0, 0.0, 0.0], "zero for every row"),
        (np.ones((3, 2)), "1D array or scalar"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weights: Any, words: str) -> None:
    with pytest.raises(InvalidData, match=words):
        read_weights(weights, 3)


def test_class_weights_are_not_for_regressors(iris: Any) -> None:
    with pytest.raises(InvalidParameter, match="for classifiers"):
        KerasRegressor(builders.regressor, fit__class_weight="balanced").fit(iris[0], iris[1])


def test_weighted_training_is_keras_weighted_training(iris: Any) -> None:
    X, y = iris
    weights = np.linspace(0.1, 2, 150)
    ours = KerasClassifier(builders.compiled_classifier, random_state=4, epochs=2)
    ours.fit(X, y, sample_weight=weights)
    keras.utils.set_random_seed(4)
    model = builders.compiled_classifier()
    for rows in amalthea.batch_order(150, 2, 4):
        model.fit(X[rows], y[rows], sample_weight=weights[rows], shuffle=False, verbose=0)
    for one, other in zip(ours.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_validation_is_what_keras_evaluates(iris: Any) -> None:
    X, y = iris
    fitted = KerasClassifier(builders.compiled_classifier, random_state=4)
    fitted.fit(X, y, validation_data=(X[:70], y[:70]))
    expected = fitted.model_.evaluate(X[:70], y[:70], verbose=0, return_dict=True)
    for name, value in expected.items():
        np.testing.assert_allclose(fitted.history_[f"val_{name}"][-1], value, rtol=1e-6)
