"""One fit at a time: build, fit, predict, in the loop that a careful user writes."""

from __future__ import annotations

import time
from typing import Any

import keras
import keras_models
import numpy as np
from parts import Part
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from workloads import Fold, Workload, arguments_of

from .outcome import Outcome, second_of_two

Result = tuple[float, int]  # the score, and the epochs that were run


def run(workload: Workload, part: Part) -> Outcome:
    X, y = workload.data()
    if workload.twice:
        return second_of_two(lambda: len(_fitted(workload, workload.candidates[0], X, y)[1].epoch))
    search = ByHand(workload, part, X, y)
    for place in range(len(part.candidates)):
        search.score(place)
    return search.outcome()


class ByHand:
    """Candidates one after another, each with the cross-validation that users write by hand."""

    def __init__(self, workload: Workload, part: Part, X: Any, y: Any) -> None:
        self._workload, self._X, self._y = workload, X, y
        self._folds, self._candidates = part.folds_of(workload), part.candidates_of(workload)
        self._results: dict[int, list[Result]] = {}
        self._seconds: dict[int, float] = {}
        self._started = time.perf_counter()

    @property
    def places(self) -> list[int]:
        return list(range(len(self._candidates)))

    def score(self, place: int) -> float:
        """The mean score of the candidate in this place."""
        began = time.perf_counter()
        fits = [
            _fit_and_score(self._workload, self._candidates[place], self._X, self._y, fold)
            for fold in self._folds
        ]
        self._results[place], self._seconds[place] = fits, time.perf_counter() - began
        return float(np.mean([score for score, _ in fits]))

    def outcome(self) -> Outcome:
        seconds = time.perf_counter() - self._started
        rows = [self._results[place] for place in self.places]
        return Outcome(
            self._started,
            seconds,
            [self._seconds[place] for place in self.places],
            epochs=[[epochs for _, epochs in row] for row in rows],
            scores=[[score for score, _ in row] for row in rows],
            order=list(self._results),
        )


def _fit_and_score(
    workload: Workload, candidate: dict[str, Any], X: Any, y: Any, fold: Fold
) -> Result:
    train, test = fold
    train_x, test_x = X[train], X[test]
    if workload.scaled:
        scaler = StandardScaler().fit(train_x)
        train_x, test_x = scaler.transform(train_x), scaler.transform(test_x)
    model, history = _fitted(workload, candidate, train_x, y[train])
    return _score(model.predict(test_x, verbose=0), y[test]), len(history.epoch)


def _fitted(workload: Workload, candidate: dict[str, Any], X: Any, y: Any) -> Any:
    keras.utils.set_random_seed(workload.seed)
    model = getattr(keras_models, workload.builder)(**arguments_of(candidate))
    epochs, batch_size = workload.epochs_of(candidate), workload.batch_size_of(candidate)
    return model, model.fit(X, y, epochs=epochs, batch_size=batch_size, verbose=0)


def _score(outputs: Any, y: Any) -> float:
    """Accuracy, or R squared for numbers, as scikit-learn's estimators score."""
    if y.dtype.kind == "f":
        return float(r2_score(y, outputs[:, 0]))
    labels = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0.5
    return float(np.mean(labels == y))
