"""Optuna with a Keras objective, and the cross-validation that its users write into it."""

from __future__ import annotations

from typing import Any

import optuna
from parts import Part
from workloads import Workload

from .by_hand import ByHand
from .outcome import Outcome


def run(workload: Workload, part: Part) -> Outcome:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = ByHand(workload, part, *workload.data())

    def objective(trial: Any) -> float:
        return search.score(trial.suggest_categorical("candidate", search.places))

    sampler = optuna.samplers.GridSampler({"candidate": search.places}, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=len(search.places))
    return search.outcome()
