"""A tuner of KerasTuner's, with the cross-validation that its users write into ``run_trial``."""

from __future__ import annotations

import tempfile
from typing import Any

import keras_tuner
from parts import Part
from workloads import Workload

from .by_hand import ByHand
from .outcome import Outcome


def run(workload: Workload, part: Part, tuner: str = "GridSearch") -> Outcome:
    search = ByHand(workload, part, *workload.data())

    class CrossValidated(getattr(keras_tuner, tuner)):  # type: ignore[misc]
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
            place = trial.hyperparameters.Choice("candidate", search.places)
            return {"score": search.score(place)}

    space = keras_tuner.HyperParameters()
    space.Choice("candidate", search.places)
    with tempfile.TemporaryDirectory() as folder:
        CrossValidated(
            objective=keras_tuner.Objective("score", "max"),
            hyperparameters=space,
            max_trials=len(search.places),
            seed=0,
            directory=folder,
            overwrite=True,
        ).search(verbose=0)
        return search.outcome()
