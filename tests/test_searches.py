"""Amalthea's searches are scikit-learn's: same signature, same results, fewer surprises."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import keras
import numpy as np
import pytest
from scipy.stats import randint
from sklearn import model_selection
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import amalthea
import builders
from amalthea import KerasClassifier
from amalthea.engine.forms import forget_programs
from amalthea.errors import InvalidParameter, UnknownParameter

SEARCHES = ["GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"]
TIMES = ("mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time")


def estimator(**parameters: Any) -> KerasClassifier:
    return KerasClassifier(builders.classifier, random_state=0, epochs=2, **parameters)


def results(search: Any) -> dict[str, Any]:
    return {name: value for name, value in search.cv_results_.items() if name not in TIMES}


def assert_same_results(one: Any, other: Any) -> None:
    first, second = results(one), results(other)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(np.asarray(first[name]), np.asarray(second[name]), name)


@pytest.mark.parametrize("name", SEARCHES)
def test_the_signature_is_scikit_learns(name: str) -> None:
    ours, theirs = getattr(amalthea, name), getattr(model_selection, name)
    assert issubclass(ours, theirs)
    assert str(inspect.signature(ours)) == str(inspect.signature(theirs))  # nan is not nan


@pytest.mark.parametrize(
    ("name", "space", "more"),
    [
        ("GridSearchCV", {"units": [3, 6]}, {"cv": 3}),
        ("RandomizedSearchCV", {"units": randint(2, 9)}, {"cv": 3, "n_iter": 2, "random_state": 0}),
        ("HalvingGridSearchCV", {"units": [3, 6]}, {"cv": 3, "random_state": 0}),
        (
            "HalvingRandomSearchCV",
            {"units": [3, 6, 9]},
            {
                "cv": 2,
                "n_candidates": 3,
                "random_state": 0,
                "resource": "epochs",
                "max_resources": 3,
            },
        ),
    ],
    ids=SEARCHES,
)
def test_the_results_are_scikit_learns(iris: Any, name: str, space: Any, more: Any) -> None:
    X, y = iris
    ours = getattr(amalthea, name)(estimator(), space, **more).fit(X, y)
    theirs = getattr(model_selection, name)(estimator(), space, **more).fit(X, y)
    assert_same_results(ours, theirs)
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-5)


@pytest.mark.slow
def test_the_results_do_not_depend_on_n_jobs(iris: Any) -> None:
    X, y = iris
    grid = {"units": [3, 6], "optimizer": ["adam", "sgd"]}
    one = amalthea.GridSearchCV(estimator(), grid, cv=3, n_jobs=1).fit(X, y)
    two = amalthea.GridSearchCV(estimator(), grid, cv=3, n_jobs=2).fit(X, y)
    assert_same_results(one, two)
    assert np.array_equal(one.predict_proba(X), two.predict_proba(X))


def test_a_search_over_another_estimator_is_scikit_learns(iris: Any) -> None:
    grid = {"C": [0.1, 1.0]}
    ours = amalthea.GridSearchCV(LogisticRegression(max_iter=500), grid).fit(*iris)
    theirs = model_selection.GridSearchCV(LogisticRegression(max_iter=500), grid).fit(*iris)
    assert_same_results(ours, theirs)


class Refuses(KerasClassifier):
    """Fails the test when training starts."""

    def _train(self, *arguments: Any, **named: Any) -> Any:
        raise AssertionError("training started")


@pytest.mark.parametrize(
    ("grid", "error", "words"),
    [
        ([], InvalidParameter, "param_grid is empty"),
        ({"units": []}, InvalidParameter, r"param_grid\['units'\] is empty"),
        ({"unitz": [3]}, UnknownParameter, "mean 'units'"),
        ({"epochs": [1, -1]}, InvalidParameter, "epochs must be"),
        ([{"units": [3]}, {"batch_size": [0]}], InvalidParameter, "batch_size must be"),
        ({"units": [3], "model__units": [4]}, InvalidParameter, "given twice"),
    ],
)
def test_a_grid_that_cannot_work_is_refused_before_the_first_fit(
    iris: Any, grid: Any, error: type, words: str
) -> None:
    search = amalthea.GridSearchCV(Refuses(builders.classifier), grid, cv=3)
    with pytest.raises(error, match=words):
        search.fit(*iris)


def test_the_grid_of_a_pipeline_is_looked_at_too(iris: Any) -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("net", Refuses(builders.classifier))])
    with pytest.raises(UnknownParameter, match="'optimiser__learning_rate'"):
        amalthea.GridSearchCV(pipeline, {"net__optimiser__learning_rate": [0.1]}).fit(*iris)


def test_other_faults_of_a_grid_are_told_by_scikit_learn(iris: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="param"):
        amalthea.GridSearchCV(estimator(), {"units": 3}).fit(*iris)


def with_old_argument(units: int = 4) -> keras.Model:
    return keras.Sequential(
        [keras.layers.Dense(units, input_dim=4), keras.layers.Dense(3, activation="softmax")]
    )


def test_a_warning_about_the_builder_is_given_once_per_search(iris: Any) -> None:
    search = amalthea.GridSearchCV(
        KerasClassifier(with_old_argument, random_state=0), {"units": [3, 4]}, cv=2
    )
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            search.fit(*iris)
        assert len([w for w in caught if "input_dim" in str(w.message)]) == 1


def test_a_builder_that_raises_for_one_candidate_fails_that_candidate_alone(iris: Any) -> None:
    def build(units: int = 3) -> keras.Model:
        if units == 0:
            raise ValueError("no units")
        return builders.classifier(units)

    search = amalthea.GridSearchCV(
        KerasClassifier(build, random_state=0), {"units": [0, 3]}, cv=2, error_score=np.nan
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(*iris)
    assert "2 fits failed" in str(caught[0].message)
    assert "build(units=0) raised ValueError: no units" in str(caught[0].message)
    assert np.isnan(search.cv_results_["mean_test_score"][0])
    assert search.best_params_ == {"units": 3}


def test_epochs_of_every_fit_can_be_scored(iris: Any) -> None:
    """History belongs to the fitted estimator, so a scorer can report it."""
    scoring = {"accuracy": "accuracy", "epochs": lambda fitted, X, y: fitted.n_epochs_}
    search = amalthea.GridSearchCV(
        estimator(), {"epochs": [1, 2]}, cv=2, scoring=scoring, refit="accuracy"
    ).fit(*iris)
    assert search.cv_results_["mean_test_epochs"].tolist() == [1, 2]


# --- programs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "grid",
    [
        {"units": [3, 6, 9], "epochs": [1, 2]},
        {"optimizer__learning_rate": [0.1, 0.01, 0.001], "optimizer": ["sgd"]},
        {"units": [3, 6], "optimizer": ["sgd", "adam"]},
    ],
    ids=["widths", "learning rates", "optimizers"],
)
def test_all_fits_and_the_refit_share_one_program_to_train_and_one_to_predict(
    iris: Any, grid: Any
) -> None:
    forget_programs()
    search = amalthea.GridSearchCV(estimator(), grid, cv=3).fit(*iris)
    assert search.programs_ == 2
    assert amalthea.GridSearchCV(estimator(), grid, cv=3).fit(*iris).programs_ == 0


def test_batch_sizes_share_one_program_to_train(iris: Any) -> None:
    """And have one each to predict, whose batches have that size."""
    forget_programs()
    search = amalthea.GridSearchCV(estimator(), {"batch_size": [10, 32, 70]}, cv=3).fit(*iris)
    assert search.programs_ == 1 + 3


def test_the_plan_of_a_search_tells_what_was_trained_together(iris: Any) -> None:
    forget_programs()
    grid = {"units": [3, 6], "epochs": [20, 40]}
    search = amalthea.GridSearchCV(estimator(), grid, cv=3).fit(*iris)
    plan = search.plan_
    assert plan["fits"] == [12, 1]
    assert plan["form"] == ["stacked", "stacked"] and plan["programs"] == [1, 0]
    assert plan["structures"][0] == 2 and plan["lanes"][0] == 6
    for name in ("seconds", "predicted_seconds", "bytes", "predicted_bytes"):
        assert all(value > 0 for value in plan[name])
