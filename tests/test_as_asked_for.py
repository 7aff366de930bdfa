"""A fit computes what its model computed when it was asked for, whatever later builders change.

In a search all builders run before the first fit is trained. One by one they would not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

import amalthea
from amalthea import GridSearchCV, KerasClassifier
from amalthea.engine.forms import forget_programs

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 5)).astype("float32"), np.tile([0, 1, 2], 20)
FACTOR = 1.0
REGULARIZER = keras.regularizers.L2(0.1)


class Scale(keras.layers.Layer):
    by = 1.0

    def call(self, x: Any) -> Any:
        return x * self.by


def weighed_loss(y: Any, predicted: Any) -> Any:
    return FACTOR * keras.losses.sparse_categorical_crossentropy(y, predicted)


def compiled(*layers: Any, loss: Any = "sparse_categorical_crossentropy") -> keras.Model:
    model = keras.Sequential([keras.Input((5,)), *layers, L.Dense(3, "softmax")])
    model.compile(keras.optimizers.SGD(0.5), loss)
    return model


def by_a_global(value: float = 1.0) -> keras.Model:
    global FACTOR
    FACTOR = value
    return compiled(L.Lambda(lambda x: x * FACTOR))


def by_an_attribute_of_a_class(value: float = 1.0) -> keras.Model:
    Scale.by = value
    return compiled(Scale())


def by_a_loss(value: float = 1.0) -> keras.Model:
    global FACTOR
    FACTOR = value
    return compiled(loss=weighed_loss)


def by_a_regularizer(value: float = 1.0) -> keras.Model:
    REGULARIZER.l2 = value
    return compiled(L.Dense(4, kernel_regularizer=REGULARIZER))


def by_a_setting(value: float = 1.0) -> keras.Model:
    keras.config.set_epsilon(value)
    return compiled()


BUILDERS = (by_a_global, by_an_attribute_of_a_class, by_a_loss, by_a_regularizer, by_a_setting)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    global FACTOR
    forget_programs()
    epsilon = keras.config.epsilon()
    yield
    FACTOR, Scale.by, REGULARIZER.l2 = 1.0, 1.0, 0.1
    keras.config.set_epsilon(epsilon)
    forget_programs()


def losses(form: str | None, build: Callable[..., Any], values: list[float]) -> list[list[float]]:
    """Of all epochs of each fit, and of what it predicts then."""
    found: dict[tuple[float, int], list[float]] = {}

    def score(estimator: Any, X: Any, y: Any) -> float:
        probabilities = estimator.predict_proba(X)[np.arange(len(y)), y]
        key = estimator.get_params()["value"], int(round(1e6 * float(X[0, 0])))
        found[key] = [*estimator.history_["loss"], float(probabilities.mean())]
        return float(probabilities.mean())

    search = GridSearchCV(
        KerasClassifier(build, epochs=3, random_state=0),
        {"value": values},
        cv=2,
        scoring=score,
        refit=False,
        error_score="raise",
    )
    with amalthea.lockstep(form=form):
        search.fit(X, Y)
    return [found[key] for key in sorted(found)]


def one_by_one(build: Callable[..., Any], values: list[float]) -> list[list[float]]:
    return sum((losses("keras", build, [value]) for value in sorted(values)), [])


@pytest.mark.parametrize("build", BUILDERS)
def test_what_a_builder_sets_holds_for_its_own_fits(build: Callable[..., Any]) -> None:
    values = [0.3, 0.01, 0.9]
    expected = one_by_one(build, values)
    assert len({tuple(each) for each in expected}) == len(expected)
    np.testing.assert_allclose(losses(None, build, values), expected, rtol=1e-4)
    np.testing.assert_allclose(losses("keras", build, values), expected, rtol=1e-5)


def test_no_other_fit_finds_what_was_traced_for_it() -> None:
    def of_its_own(value: float = 1.0) -> keras.Model:
        return compiled(L.Dense(4, kernel_regularizer=keras.regularizers.L2(value)))

    losses(None, by_a_regularizer, [0.1, 1.0])
    ours = losses(None, of_its_own, [0.1, 1.0])
    np.testing.assert_allclose(ours, one_by_one(of_its_own, [0.1, 1.0]), rtol=1e-4)
