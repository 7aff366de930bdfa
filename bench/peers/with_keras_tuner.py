"""KerasTuner's GridSearch, with the cross-validation that its users write into ``run_trial``."""

from __future__ import annotations

import io
import tempfile
import time
from contextlib import redirect_stdout
from typing import Any

import keras_tuner
import numpy as np
from workloads import Workload

from .by_hand import fit_and_score
from .outcome import Outcome


def run(workload: Workload, candidates: list[dict[str, Any]]) -> Outcome:
    X, y = workload.data()
    folds = workload.folds()
    scores: dict[int, float] = {}
    epochs: list[int] = []

    class CrossValidated(keras_tuner.GridSearch):
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> float:
            number = trial.hyperparameters.Choice("candidate", list(range(len(candidates))))
            of_folds = [
                fit_and_score(workload, candidates[number], X, y, train, test)
                for train, test in folds
            ]
            epochs.extend(n for _, n in of_folds)
            scores[number] = float(np.mean([score for score, _ in of_folds]))
            return scores[number]

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        tuner = CrossValidated(
            objective=keras_tuner.Objective("score", "max"),
            max_trials=len(candidates),
            directory=folder,
            overwrite=True,
        )
        started = time.perf_counter()
        tuner.search()
        seconds = time.perf_counter() - started
    in_order = [scores[number] for number in sorted(scores)]
    return Outcome(seconds, len(epochs), sum(epochs), in_order)
