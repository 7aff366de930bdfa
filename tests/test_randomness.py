"""What `random_state` promises: every fit can be repeated with Keras alone."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import amalthea
import builders
from amalthea import KerasClassifier, KerasRegressor, privates
from amalthea.errors import InvalidParameter


@given(
    n_samples=st.integers(0, 60),
    epochs=st.integers(0, 6),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=30, deadline=None)
def test_each_epoch_takes_each_row_once(n_samples: int, epochs: int, seed: int) -> None:
    order = amalthea.batch_order(n_samples, epochs, seed)
    assert order.shape == (epochs, n_samples)
    assert (np.sort(order, axis=1) == np.arange(n_samples)).all()


def test_fewer_epochs_are_a_prefix_of_more() -> None:
    whole = amalthea.batch_order(31, 7, 5)
    for epochs in range(8):
        assert np.array_equal(amalthea.batch_order(31, epochs, 5), whole[:epochs])


def test_the_order_is_the_documented_stream() -> None:
    for epoch, row in enumerate(amalthea.batch_order(10, 3, 4)):
        assert np.array_equal(row, np.random.RandomState([4, epoch]).permutation(10))


@pytest.mark.parametrize(
    "arguments", [(-1, 2, 0), (5, -1, 0), (5, 2, -1), (5, 2, 2**32), (5, 2.0, 0)]
)
def test_batch_order_refuses_what_is_no_count(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidParameter, match="must be"):
        amalthea.batch_order(*arguments)


def with_everything(units: int = 6) -> keras.Model:
    """State of every kind: normalisation, noise, regularisation, a moving average."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Dense(units, "relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(3, "softmax"),
        ]
    )
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=None)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def repeat_with_keras(
    build: Any, X: np.ndarray, y: np.ndarray, epochs: int, seed: int, **fit: Any
) -> tuple[keras.Model, list[float]]:
    """The contract, in Keras's words alone: one call of fit, one generator of batches."""
    batch_size = fit.pop("batch_size", 32)
    keras.utils.set_random_seed(seed)
    model = build()
    order = amalthea.batch_order(len(X), epochs, seed)
    batches_per_epoch = -(-len(X) // batch_size)

    def batches() -> Any:
        for epoch in range(epochs):
            for start in range(0, len(X), batch_size):
                rows = order[epoch][start : start + batch_size]
                yield X[rows].astype("float32"), y[rows]

    history = model.fit(
        batches(), steps_per_epoch=batches_per_epoch, epochs=epochs, shuffle=False, verbose=0, **fit
    )
    return model, history.history["loss"]


@pytest.mark.parametrize("batch_size", [32, 7, 200])
def test_a_fit_can_be_repeated_with_keras_alone(iris: Any, batch_size: int) -> None:
    X, y = iris
    ours = KerasClassifier(with_everything, epochs=3, batch_size=batch_size, random_state=11)
    ours.fit(X, y)
    model, losses = repeat_with_keras(with_everything, X, y, 3, 11, batch_size=batch_size)
    for ours_value, value in zip(ours.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours_value, value, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(ours.history_["loss"], losses, rtol=1e-6)


def test_a_fit_can_be_repeated_epoch_by_epoch(iris: Any) -> None:
    X, y = iris
    ours = KerasClassifier(builders.compiled_classifier, epochs=3, random_state=1).fit(X, y)
    keras.utils.set_random_seed(1)
    model = builders.compiled_classifier()
    for rows in amalthea.batch_order(len(X), 3, 1):
        model.fit(X[rows], y[rows], shuffle=False, verbose=0)
    for ours_value, value in zip(ours.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours_value, value)


def test_without_shuffling_rows_come_as_they_stand(iris: Any) -> None:
    X, y = iris
    ours = KerasClassifier(builders.compiled_classifier, shuffle=False, epochs=2, random_state=1)
    ours.fit(X, y)
    keras.utils.set_random_seed(1)
    model = builders.compiled_classifier()
    model.fit(X, y, epochs=2, shuffle=False, verbose=0)
    for ours_value, value in zip(ours.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours_value, value)


def test_a_lazily_built_regressor_can_be_repeated() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    ours = KerasRegressor(builders.regressor, epochs=2, random_state=5, loss="mse").fit(X, y)

    def build() -> keras.Model:
        model = builders.regressor()
        model.compile("rmsprop", "mse")
        return model

    model, _ = repeat_with_keras(build, X, y[:, None], 2, 5)
    for ours_value, value in zip(ours.model_.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours_value, value, rtol=1e-6, atol=1e-7)


def test_going_on_is_the_same_as_going_through(iris: Any) -> None:
    X, y = iris
    whole = KerasClassifier(builders.compiled_classifier, epochs=3, random_state=2).fit(X, y)
    warm = clone(whole).set_params(epochs=2, warm_start=True).fit(X, y)
    warm.set_params(epochs=1).fit(X, y)
    partial = clone(whole)
    for _ in range(3):
        partial.partial_fit(X, y)
    for other in (warm, partial):
        assert other.n_epochs_ == 3
        np.testing.assert_allclose(other.history_["loss"], whole.history_["loss"], rtol=1e-6)
        for a, b in zip(other.model_.get_weights(), whole.model_.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_seed_gives_the_same_weights_again_and_another_seed_does_not(iris: Any) -> None:
    X, y = iris
    estimator = KerasClassifier(builders.classifier, random_state=3)
    first, again = clone(estimator).fit(X, y), clone(estimator).fit(X, y)
    other = clone(estimator).set_params(random_state=4).fit(X, y)
    assert np.array_equal(first.predict_proba(X), again.predict_proba(X))
    assert not np.array_equal(first.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("kind", [None, np.random.RandomState, np.random.default_rng])
def test_a_drawn_seed_is_kept_and_repeats_the_fit(iris: Any, kind: Any) -> None:
    X, y = iris
    state = kind(0) if kind else None
    drawn = KerasClassifier(builders.classifier, random_state=state).fit(X, y)
    again = KerasClassifier(builders.classifier, random_state=drawn.seed_).fit(X, y)
    assert np.array_equal(drawn.predict_proba(X), again.predict_proba(X))


def test_global_state_is_as_it_was(iris: Any) -> None:
    X, y = iris
    estimator = KerasClassifier(with_everything, random_state=3, validation_split=0.2)

    def draws(fit: bool) -> list[Any]:
        privates.set_keras_state(privates.AS_AT_START)
        keras.utils.set_random_seed(7)
        keras.random.uniform((2,))
        if fit:
            estimator.fit(X, y).predict(X)
        return [random.random(), np.random.rand(), *np.asarray(keras.random.uniform((3,)))]

    assert draws(fit=True) == draws(fit=False)


def test_global_state_is_as_it_was_after_a_builder_raised(iris: Any) -> None:
    def build() -> keras.Model:
        raise ValueError("no")

    before = (random.getstate(), np.random.get_state()[1].tolist())
    with pytest.raises(RuntimeError, match="no"):
        KerasClassifier(build, random_state=3).fit(*iris)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
