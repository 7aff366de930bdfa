"""Optuna with a Keras objective, and the cross-validation that its users write into it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import optuna
from workloads import Workload

from .by_hand import fit_and_score
from .outcome import Outcome


def run(workload: Workload, candidates: list[dict[str, Any]]) -> Outcome:
    X, y = workload.data()
    folds = workload.folds()
    scores: dict[int, float] = {}
    epochs: list[int] = []

    def objective(trial: Any) -> float:
        number = trial.suggest_categorical("candidate", list(range(len(candidates))))
        of_folds = [
            fit_and_score(workload, candidates[number], X, y, train, test) for train, test in folds
        ]
        epochs.extend(n for _, n in of_folds)
        scores[number] = float(np.mean([score for score, _ in of_folds]))
        return scores[number]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.GridSampler({"candidate": list(range(len(candidates)))}, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    started = time.perf_counter()
    study.optimize(objective, n_trials=len(candidates))
    seconds = time.perf_counter() - started
    return Outcome(seconds, len(epochs), sum(epochs), [scores[n] for n in sorted(scores)])
