"""Keras one fit at a time: build, fit, predict, in the loop that a careful user writes."""

from __future__ import annotations

import time
from typing import Any

import keras
import keras_models
import numpy as np
from workloads import Workload, arguments_of

from .outcome import Outcome


def run(workload: Workload, candidates: list[dict[str, Any]]) -> Outcome:
    X, y = workload.data()
    folds, scores, epochs = workload.folds(), [], 0
    started = time.perf_counter()
    for candidate in candidates:
        of_folds = []
        for train, test in folds:
            score, n_epochs = fit_and_score(workload, candidate, X, y, train, test)
            of_folds.append(score)
            epochs += n_epochs
        scores.append(float(np.mean(of_folds)))
    seconds = time.perf_counter() - started
    return Outcome(seconds, len(candidates) * len(folds), epochs, scores)


def fit_and_score(
    workload: Workload, candidate: dict[str, Any], X: Any, y: Any, train: Any, test: Any
) -> tuple[float, int]:
    """One fit of one candidate on one fold; its score, and the epochs that it ran."""
    train_x, test_x = X[train], X[test]
    if workload.scaled:
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(train_x)
        train_x, test_x = scaler.transform(train_x), scaler.transform(test_x)
    keras.utils.set_random_seed(0)
    model = getattr(keras_models, workload.builder)(**arguments_of(candidate))
    history = model.fit(
        train_x,
        y[train],
        epochs=workload.epochs_of(candidate),
        batch_size=workload.batch_size_of(candidate),
        verbose=0,
    )
    return score_of(model.predict(test_x, verbose=0), y[test]), len(history.epoch)


def score_of(outputs: Any, y: Any) -> float:
    """Accuracy, or R squared for numbers, as scikit-learn's estimators score."""
    from sklearn.metrics import r2_score

    if y.dtype.kind == "f":
        return float(r2_score(y, outputs[:, 0]))
    labels = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0.5
    return float(np.mean(labels == y))
