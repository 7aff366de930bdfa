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

from .outcome import Outcome, Span, Told, second_of_two


def run(workload: Workload, part: Part) -> Outcome:
    X, y = workload.data()
    if workload.twice:
        return second_of_two(
            lambda: _fitted(workload, workload.candidates[0], X, y),
            lambda model: _told(model, X, y),
        )
    search = ByHand(workload, part, X, y)
    for place in range(len(part.candidates)):
        search.score(place)
    return search.outcome()


class ByHand:
    """Candidates one after another, each with the cross-validation that users write by hand."""

    def __init__(self, workload: Workload, part: Part, X: Any, y: Any) -> None:
        self._workload, self._X, self._y = workload, X, y
        self._folds, self._candidates = part.folds_of(workload), part.candidates_of(workload)
        self._fits: dict[int, list[tuple[Told, Span]]] = {}
        self._started = time.perf_counter()

    @property
    def places(self) -> list[int]:
        return list(range(len(self._candidates)))

    def score(self, place: int) -> float:
        """The mean score of the candidate in this place."""
        self._fits[place] = [self._fit(place, fold) for fold in self._folds]
        return float(np.mean([told.score for told, _ in self._fits[place]]))

    def _fit(self, place: int, fold: Fold) -> tuple[Told, Span]:
        began = time.perf_counter()
        told = _fit_and_score(self._workload, self._candidates[place], self._X, self._y, fold)
        return told, (began, time.perf_counter())

    def outcome(self) -> Outcome:
        seconds = time.perf_counter() - self._started
        rows = [self._fits[place] for place in self.places]
        return Outcome(
            self._started,
            seconds,
            spans=[[span for _, span in row] for row in rows],
            epochs=[[told.epochs for told, _ in row] for row in rows],
            steps=[[told.steps for told, _ in row] for row in rows],
            scores=[[told.score for told, _ in row] for row in rows],
        )


def _fit_and_score(
    workload: Workload, candidate: dict[str, Any], X: Any, y: Any, fold: Fold
) -> Told:
    train, test = fold
    train_x, test_x = X[train], X[test]
    if workload.scaled:
        scaler = StandardScaler().fit(train_x)
        train_x, test_x = scaler.transform(train_x), scaler.transform(test_x)
    return _told(_fitted(workload, candidate, train_x, y[train]), test_x, y[test])


def _fitted(workload: Workload, candidate: dict[str, Any], X: Any, y: Any) -> Any:
    keras.utils.set_random_seed(workload.seed)
    model = getattr(keras_models, workload.builder)(**arguments_of(candidate))
    epochs, batch_size = workload.epochs_of(candidate), workload.batch_size_of(candidate)
    model.fit(X, y, epochs=epochs, batch_size=batch_size, verbose=0)
    return model


def _told(model: Any, X: Any, y: Any) -> Told:
    score = _score(model.predict(X, verbose=0), y)
    return Told(len(model.history.epoch), int(model.optimizer.iterations), score)


def _score(outputs: Any, y: Any) -> float:
    """Accuracy, or R squared for numbers, as scikit-learn's estimators score."""
    if y.dtype.kind == "f":
        return float(r2_score(y, outputs[:, 0]))
    labels = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0.5
    return float(np.mean(labels == y))
