"""scikit-learn's own classes under lockstep give the results of the sequential backend."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from sklearn import model_selection as ms
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFECV
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import amalthea
import builders
from amalthea import KerasClassifier, KerasRegressor
from amalthea.engine.trainer import current_trainer, training_with


class Counting:
    """The default trainer, and how many requests came to it at a time."""

    def __init__(self) -> None:
        self._trainer = current_trainer()
        self.trained: list[int] = []
        self.predicted: list[int] = []

    def train(self, requests: Sequence[Any]) -> list[Any]:
        self.trained.append(len(requests))
        return self._trainer.train(requests)

    def predict(self, requests: Sequence[Any]) -> list[Any]:
        self.predicted.append(len(requests))
        return self._trainer.predict(requests)


def net(seed: int = 0, **parameters: Any) -> KerasClassifier:
    return KerasClassifier(
        builders.classifier, units=4, random_state=seed, epochs=1, batch_size=50, **parameters
    )


def scaled(seed: int = 0) -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("net", net(seed))])


class WithImportances(ClassifierMixin, BaseEstimator):
    """What RFECV needs."""

    def fit(self, X: Any, y: Any) -> WithImportances:
        self.net_ = net().fit(X, y)
        self.classes_ = self.net_.classes_
        self.coef_ = np.asarray(self.net_.model_.get_weights()[0]).T
        return self

    def predict(self, X: Any) -> Any:
        return self.net_.predict(X)


def two_outputs(X: Any) -> Any:
    return np.column_stack([X[:, 0], X[:, 1] * 2])


def values(results: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in results.items() if "time" not in name}


def searched(search: Any, X: Any, y: Any, **fit: Any) -> Any:
    search.fit(X, y, **fit)
    return values(search.cv_results_), search.best_params_, search.predict(X[::10])


def fitted(estimator: Any, X: Any, y: Any) -> Any:
    estimator.fit(X, y)
    return estimator.predict_proba(X[::10])


GRID = {"units": [3, 5], "optimizer": ["adam", "sgd"]}


def nested(X: Any, y: Any) -> Any:
    inner = ms.GridSearchCV(net(), {"units": [3, 5]}, cv=2)
    return values(ms.cross_validate(inner, X, y, cv=2))


def routed(X: Any, y: Any) -> Any:
    weights = np.linspace(0.1, 1, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = net().set_fit_request(sample_weight=True)
        estimator = estimator.set_score_request(sample_weight=True)
        search = ms.GridSearchCV(estimator, {"units": [3, 5]}, cv=2)
        return searched(search, X, y, sample_weight=weights)


def failing(units: int = 3) -> Any:
    if units == 0:
        raise ValueError("no units")
    return builders.classifier(units)


def some_fail(X: Any, y: Any) -> Any:
    search = ms.GridSearchCV(
        KerasClassifier(failing, random_state=0), {"units": [0, 3]}, cv=2, error_score=np.nan
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = searched(search, X, y)
    return results, [w.category.__name__ for w in caught if "fits failed" in str(w.message)]


def one_by_one(X: Any, y: Any) -> Any:
    tasks = (joblib.delayed(fitted)(net(seed), X, y) for seed in range(3))
    return list(joblib.Parallel(return_as="generator")(tasks))


CASES: dict[str, Callable[[Any, Any], Any]] = {
    "GridSearchCV": lambda X, y: searched(ms.GridSearchCV(net(), GRID, cv=2), X, y),
    "RandomizedSearchCV": lambda X, y: searched(
        ms.RandomizedSearchCV(net(), {"units": [3, 4, 5]}, n_iter=2, random_state=0, cv=2), X, y
    ),
    "HalvingGridSearchCV": lambda X, y: searched(
        ms.HalvingGridSearchCV(net(), {"units": [3, 4, 5]}, cv=2, random_state=0), X, y
    ),
    "multimetric": lambda X, y: searched(
        ms.GridSearchCV(
            scaled(),
            {"net__units": [3, 5]},
            cv=2,
            scoring=["accuracy", "neg_log_loss"],
            refit="accuracy",
            return_train_score=True,
        ),
        X,
        y,
    ),
    "cross_validate": lambda X, y: values(
        ms.cross_validate(scaled(), X, y, cv=3, return_train_score=True)
    ),
    "cross_val_predict": lambda X, y: ms.cross_val_predict(net(), X, y, cv=3),
    "cross_val_predict proba": lambda X, y: ms.cross_val_predict(
        net(), X, y, cv=3, method="predict_proba"
    ),
    "learning_curve": lambda X, y: ms.learning_curve(
        net(), X, y, cv=2, train_sizes=[0.5, 1.0], shuffle=True, random_state=0
    ),
    "validation_curve": lambda X, y: ms.validation_curve(
        net(), X, y, param_name="units", param_range=[3, 5], cv=2
    ),
    "permutation_test_score": lambda X, y: ms.permutation_test_score(
        net(), X, y, cv=2, n_permutations=3, random_state=0
    ),
    "RFECV": lambda X, y: (
        RFECV(WithImportances(), cv=2, importance_getter="coef_").fit(X, y).ranking_
    ),
    "BaggingClassifier": lambda X, y: fitted(
        BaggingClassifier(net(), n_estimators=3, random_state=0), X, y
    ),
    "StackingClassifier": lambda X, y: fitted(
        StackingClassifier(
            [("a", net(0)), ("b", scaled(1))], LogisticRegression(max_iter=500), cv=2
        ),
        X,
        y,
    ),
    "VotingClassifier": lambda X, y: fitted(
        VotingClassifier([("a", net(0)), ("b", net(1))], voting="soft"), X, y
    ),
    "MultiOutputRegressor": lambda X, y: (
        MultiOutputRegressor(KerasRegressor(builders.regressor, random_state=0))
        .fit(X, two_outputs(X))
        .predict(X)
    ),
    "OneVsRestClassifier": lambda X, y: fitted(OneVsRestClassifier(net(n_classes=2)), X, y),
    "CalibratedClassifierCV": lambda X, y: fitted(CalibratedClassifierCV(net(), cv=2), X, y),
    "FeatureUnion": lambda X, y: values(
        ms.cross_validate(
            Pipeline(
                [
                    ("both", FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler())])),
                    ("net", net()),
                ]
            ),
            X,
            y,
            cv=2,
        )
    ),
    "ColumnTransformer": lambda X, y: values(
        ms.cross_validate(
            Pipeline(
                [
                    (
                        "columns",
                        ColumnTransformer(
                            [("a", StandardScaler(), [0, 1]), ("b", MinMaxScaler(), [2, 3])]
                        ),
                    ),
                    ("net", net()),
                ]
            ),
            X,
            y,
            cv=2,
        )
    ),
    "nested search": nested,
    "generator": one_by_one,
    "error_score": some_fail,
    "metadata routing": routed,
}


@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_the_sequential_backend(iris: Any, case: str) -> None:
    with joblib.parallel_config(backend="sequential"):
        expected = CASES[case](*iris)
    with amalthea.lockstep():
        found = CASES[case](*iris)
    # A calibration is fitted to the last bit, in steps that rounding can tell apart.
    assert_alike(found, expected, 5e-3 if case == "CalibratedClassifierCV" else 1e-5)


def assert_alike(found: Any, expected: Any, rtol: float = 1e-5) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other, rtol)
    elif isinstance(expected, np.ndarray | float) and np.asarray(expected).dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_all_fits_of_a_search_reach_the_trainer_at_once(iris: Any, n_jobs: Any) -> None:
    with training_with(Counting()), amalthea.lockstep():
        trainer: Any = current_trainer()
        ms.GridSearchCV(net(), GRID, cv=3, n_jobs=n_jobs, refit=False).fit(*iris)
    assert trainer.trained == [12] and trainer.predicted == [12]


def test_all_fits_of_a_nested_search_reach_the_trainer_at_once(iris: Any) -> None:
    with training_with(Counting()), amalthea.lockstep():
        trainer: Any = current_trainer()
        nested(*iris)
    assert trainer.trained == [8, 2]  # 2 outer splits of 2 candidates of 2 inner ones; the refits


def test_our_searches_train_together_by_themselves(iris: Any) -> None:
    trainer = Counting()
    with training_with(trainer):
        search = amalthea.GridSearchCV(scaled(), {"net__units": [3, 5]}, cv=3).fit(*iris)
        assert trainer.trained == [6, 1]
        assert search.programs_ == 0  # this trainer does not say
        amalthea.GridSearchCV(  # among the values alone
            Pipeline([("step", LogisticRegression())]), {"step": [net(), net(1)]}, cv=2
        ).fit(*iris)
        assert trainer.trained[2:] == [4, 1]
        with joblib.parallel_config(backend="sequential"):
            amalthea.GridSearchCV(net(), {"units": [3, 5]}, cv=2, refit=False).fit(*iris)
        assert trainer.trained[4:] == [1, 1, 1, 1]


def test_the_programs_of_a_search_are_counted(iris: Any) -> None:
    grid = {"units": [7, 9]}
    search = amalthea.GridSearchCV(net(), grid, cv=3).fit(*iris)
    assert search.programs_ > 0
    again = amalthea.GridSearchCV(net(), grid, cv=3).fit(*iris)
    assert again.programs_ == 0


def test_a_search_over_another_estimator_is_left_alone(iris: Any) -> None:
    grid = {"max_depth": [1, 3]}
    forest = RandomForestClassifier(10, random_state=0)

    def run(search: Any) -> Any:
        found = search(forest, grid, cv=3, n_jobs=1).fit(*iris)
        return values(found.cv_results_), found.predict_proba(iris[0])

    with joblib.parallel_config(backend="sequential"):
        expected = run(ms.GridSearchCV)
    ours = amalthea.GridSearchCV(forest, grid, cv=3).fit(*iris)
    assert ours.programs_ == 0
    assert_alike(values(ours.cv_results_), expected[0])
    with amalthea.lockstep():
        assert_alike(run(ms.GridSearchCV), expected)


def test_the_times_of_a_search_are_each_fits_share(iris: Any) -> None:
    class Slow(Counting):
        def train(self, requests: Sequence[Any]) -> list[Any]:
            from dataclasses import replace

            return [replace(answer, seconds=7.0) for answer in super().train(requests)]

        def predict(self, requests: Sequence[Any]) -> list[Any]:
            import time

            time.sleep(0.2 * len(requests))
            return super().predict(requests)

    with training_with(Slow()), amalthea.lockstep():
        results = ms.GridSearchCV(net(), {"units": [3, 5]}, cv=2, refit=False).fit(*iris)
        results = results.cv_results_
    assert np.all((results["mean_fit_time"] > 7) & (results["mean_fit_time"] < 9))
    assert np.all((results["mean_score_time"] > 0.15) & (results["mean_score_time"] < 0.7))


def _in_a_worker(X: Any, y: Any) -> Any:
    with amalthea.lockstep():
        return ms.cross_val_score(net(), X, y, cv=2)


@pytest.mark.slow
def test_a_lockstep_inside_of_other_processes(iris: Any) -> None:
    expected = _in_a_worker(*iris)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(_in_a_worker)(*iris) for _ in range(2))
    for scores in found:
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_what_a_later_task_changes_in_place_changes_no_earlier_fit(iris: Any) -> None:
    def voted(X: Any, y: Any) -> Any:
        scaled = make_pipeline(StandardScaler(copy=False), net())
        return VotingClassifier([("raw", net()), ("scaled", scaled)], voting="soft").fit(X, y)

    X, y = iris
    for kind in ("float64", "float32"):
        with joblib.parallel_config(backend="sequential"):
            expected = voted(X.astype(kind), y).predict_proba(X.copy())
        with amalthea.lockstep():
            found = voted(X.astype(kind), y)
        np.testing.assert_allclose(found.predict_proba(X.copy()), expected, rtol=1e-4)
