"""In a search the builder runs once for the fits of one candidate and seed; nobody notices."""

from __future__ import annotations

import pickle
import random
import warnings
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid, cross_validate

import amalthea
from amalthea import KerasClassifier
from amalthea.engine.likeness import Likeness, likeness
from amalthea.engine.requests import FitRequest
from amalthea.engine.rows import Rows
from amalthea.engine.steps import state_of, variables_of
from amalthea.engine.structures import Structures
from kinds_of_models import OPTIMIZERS, cut

built: list[int] = []


def build(units: int = 4) -> keras.Model:
    built.append(units)
    L = keras.layers
    return keras.Sequential(
        [L.Input((4,)), L.Dense(units, "relu"), L.Dropout(0.2), L.Dense(3, "softmax")]
    )


def fitted_together(X: Any, y: Any, **parameters: Any) -> Any:
    estimator = KerasClassifier(build, epochs=2, **{"random_state": 0, **parameters})
    built.clear()
    with amalthea.lockstep():
        return cross_validate(estimator, X, y, cv=3, return_estimator=True)


def test_the_builder_runs_once_for_all_splits(iris: Any) -> None:
    fitted_together(*iris)
    assert len(built) == 1


@pytest.mark.parametrize(
    "parameters", [{"random_state": None}, {"early_stopping": True}], ids=["no seed", "callbacks"]
)
def test_where_fits_cannot_start_alike_each_has_its_model(iris: Any, parameters: Any) -> None:
    fitted_together(*iris, **parameters)
    assert len(built) == 3


def searched(estimator: KerasClassifier, grid: Any, X: Any, y: Any) -> list[Any]:
    """The mean scores, and how often the builder ran."""
    built.clear()
    search = amalthea.GridSearchCV(estimator, grid, cv=3, error_score="raise").fit(X, y)
    return [search.cv_results_["mean_test_score"].tolist(), len(built)]


def test_candidates_that_differ_in_how_they_are_trained_share_a_model(iris: Any) -> None:
    estimator = KerasClassifier(build, epochs=1, random_state=0)
    grid = {"epochs": [1, 3], "batch_size": [20, 50], "fit__shuffle": [True, False]}
    together, n_built = searched(estimator, grid, *iris)
    assert n_built == 1 + 1  # and for the refit, on other rows
    alone = [
        searched(estimator, {name: [value] for name, value in one.items()}, *iris)[0]
        for one in ParameterGrid(grid)
    ]
    np.testing.assert_allclose(together, np.ravel(alone), rtol=1e-6)


def test_a_builder_that_wants_epochs_too_is_called_for_each(iris: Any) -> None:
    def wants(epochs: int) -> keras.Model:
        return build(epochs)

    built.clear()
    with amalthea.lockstep():
        grid = {"epochs": [2, 3]}
        amalthea.GridSearchCV(KerasClassifier(wants, random_state=0), grid, refit=False).fit(*iris)
    assert sorted(built) == [2, 3]


def test_estimators_are_as_if_each_had_been_fitted_alone(iris: Any) -> None:
    X, y = iris
    together = fitted_together(X, y)
    alone = cross_validate(
        KerasClassifier(build, epochs=2, random_state=0), X, y, cv=3, return_estimator=True
    )
    np.testing.assert_array_equal(together["test_score"], alone["test_score"])
    for one, other in zip(together["estimator"], alone["estimator"], strict=True):
        before = one.predict_proba(X)
        np.testing.assert_allclose(before, other.predict_proba(X), rtol=1e-5)
        for ours, theirs in zip(one.model_.get_weights(), other.model_.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        assert one.model_ is one.model_
        np.testing.assert_allclose(one.predict_proba(X), before, rtol=1e-6)
        # Training goes on with the optimizer's state.
        one.partial_fit(X, y), other.partial_fit(X, y)
        np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-4)


def test_models_are_each_estimators_own(iris: Any) -> None:
    first, second, _ = fitted_together(*iris)["estimator"]
    expected = second.predict_proba(iris[0])
    first.model_.set_weights([np.zeros_like(w) for w in first.model_.get_weights()])
    assert np.allclose(first.predict_proba(iris[0]), 1 / 3)
    np.testing.assert_array_equal(second.predict_proba(iris[0]), expected)


def test_they_can_be_pickled_cloned_and_saved(iris: Any, tmp_path: Any) -> None:
    one, two, three = fitted_together(*iris)["estimator"]
    expected = one.predict_proba(iris[0])
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_allclose(again.predict_proba(iris[0]), expected, rtol=1e-6)
    assert not hasattr(clone(two), "model_")
    three.save(tmp_path / "model.amalthea")
    loaded = amalthea.load(tmp_path / "model.amalthea", custom_objects={"build": build})
    np.testing.assert_allclose(
        loaded.predict_proba(iris[0]), three.predict_proba(iris[0]), rtol=1e-6
    )


def test_a_builder_that_knows_its_data_runs_for_each_kind_of_it(iris: Any) -> None:
    def build_for(meta: Any) -> keras.Model:
        built.append(meta["X_shape_"][0])
        return build()

    X, y = iris
    built.clear()
    with amalthea.lockstep():
        cross_validate(KerasClassifier(build_for, random_state=0), X[:149], y[:149], cv=3)
    assert sorted({n for n in built if n > 4}) == [99, 100]


def test_a_fit_that_needs_its_own_model_builds_it_once(iris: Any) -> None:
    together = fitted_together(*iris, optimizer="adam", optimizer__use_ema=True)
    assert len(built) == 3
    assert {one.form_ for one in together["estimator"]} == {"stacked"}


def test_a_warning_made_an_error_fails_each_fit_that_gives_it(iris: Any) -> None:
    def eager() -> keras.Model:
        model = build()
        model.compile("sgd", loss="sparse_categorical_crossentropy", run_eagerly=True)
        return model

    estimator = KerasClassifier(eager, epochs=1, batch_size=100, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", amalthea.errors.KerasFitWarning)
        for _ in range(2):
            with pytest.raises(amalthea.errors.KerasFitWarning, match="eagerly"):
                clone(estimator).fit(*iris)


UNITS = 4


def build_as_configured() -> keras.Model:
    return build(UNITS)


def test_another_search_builds_anew(iris: Any, monkeypatch: Any) -> None:
    kept = []
    for units in (4, 7):
        monkeypatch.setattr("test_held_models.UNITS", units)
        with amalthea.lockstep():
            kept.append(
                cross_validate(
                    KerasClassifier(build_as_configured, random_state=0),
                    *iris,
                    cv=2,
                    return_estimator=True,
                )["estimator"][0]
            )
        assert kept[-1].model_.layers[0].units == units


def test_a_builder_that_makes_another_model_later_changes_no_estimator(
    iris: Any, monkeypatch: Any
) -> None:
    with amalthea.lockstep():
        first, second = cross_validate(
            KerasClassifier(build_as_configured, random_state=0), *iris, cv=2, return_estimator=True
        )["estimator"]
    expected = first.predict_proba(iris[0]), second.predict_proba(iris[0])
    monkeypatch.setattr("test_held_models.UNITS", 7)
    assert first.model_.layers[0].units == 4
    np.testing.assert_allclose(first.predict_proba(iris[0]), expected[0], rtol=1e-6)
    with pytest.raises(amalthea.errors.InvalidModel, match="makes another model now"):
        _ = second.model_
    np.testing.assert_array_equal(second.predict_proba(iris[0]), expected[1])


def request_of(optimizer: Any, n_rows: int = 8) -> FitRequest:
    model = build()
    model.compile(optimizer, loss="sparse_categorical_crossentropy")
    rows = Rows(np.zeros((n_rows, 4), "float32"), np.zeros((n_rows,), "int32"), None)
    alike = likeness(model, variables_of(model)) or Likeness((type(optimizer),), ())
    return FitRequest(model, rows, seed=0, epochs=1, keeps_model=True, likeness=alike)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_known_optimizer_begins_as_if_it_had_been_built(name: str) -> None:
    structures, first = Structures(), request_of(OPTIMIZERS[name]())
    for n_rows in (8, 5):  # the second finds the optimizer built
        of_size = replace(first, training=cut(first.training, n_rows))
        structures.of_fit(of_size, structures.likeness_of(of_size, {}))
    for n_rows in (8, 5):
        request = request_of(OPTIMIZERS[name](), n_rows)
        _, state = structures.of_fit(request, structures.likeness_of(request, {}))
        model = build()
        model.compile(OPTIMIZERS[name]())
        model.optimizer.build(model.trainable_variables)
        built = state_of(model).optimizer
        for ours, theirs in zip(state.optimizer, built, strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype


class Remembers(keras.optimizers.SGD):
    def build(self, variables: Any) -> None:
        super().build(variables)
        for variable in variables:
            self.add_variable_from_reference(variable, "first").assign(variable)


def test_an_optimizer_that_begins_with_the_weights_is_built_each_time() -> None:
    structures = Structures()
    for _ in range(2):
        request = request_of(Remembers())
        _, state = structures.of_fit(request, structures.likeness_of(request, {}))
        weights = [np.asarray(value) for value in state.trainable]
        for first, weight in zip(state.optimizer[-len(weights) :], weights, strict=True):
            np.testing.assert_array_equal(first, weight)


def test_folds_of_unequal_size_share_models_too(iris: Any) -> None:
    X, y = iris[0][:149], iris[1][:149]
    grid = {"units": [4], "optimizer__learning_rate": [0.01, 0.02]}
    together, alone = (
        amalthea.GridSearchCV(
            KerasClassifier(build, epochs=2, random_state=0, optimizer="adam"), grid, cv=4
        )
        for _ in range(2)
    )
    together.fit(X, y)
    with amalthea.lockstep(form="keras"):
        alone.fit(X, y)
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(together.cv_results_[name], alone.cv_results_[name])


class Draws(keras.callbacks.Callback):
    def on_train_begin(self, logs: Any = None) -> None:
        self.drawn = random.random(), np.random.random(), float(keras.random.uniform(()))


@pytest.mark.parametrize("draws_too", [False, True], ids=["", "the builder draws too"])
def test_callbacks_draw_as_if_each_fit_had_been_alone(iris: Any, draws_too: bool) -> None:
    def drawing(units: int = 4) -> keras.Model:
        keras.random.uniform(())
        return build(units)

    builder = drawing if draws_too else build
    estimator = KerasClassifier(builder, epochs=1, random_state=0, callbacks=Draws)
    alone = cross_validate(estimator, *iris, cv=3, return_estimator=True)["estimator"]
    with amalthea.lockstep():
        together = cross_validate(estimator, *iris, cv=3, return_estimator=True)["estimator"]
    expected = [one.callbacks_[0].drawn for one in alone]
    assert [one.callbacks_[0].drawn for one in together] == expected
    assert len(set(expected)) == 1
