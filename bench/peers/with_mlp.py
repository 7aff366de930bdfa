"""scikit-learn's own MLPClassifier under GridSearchCV, where it can express the model."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from workloads import Workload

from .grid_search import searched
from .outcome import Outcome

_NAMES = {"relu": "relu", "sigmoid": "logistic", "tanh": "tanh"}


def run(workload: Workload, candidates: list[dict[str, Any]], n_jobs: int = 1) -> Outcome:
    warnings.simplefilter("ignore", ConvergenceWarning)
    estimator: Any = MLPClassifier(
        batch_size=workload.batch_size,
        max_iter=workload.epochs,
        n_iter_no_change=workload.epochs + 1,
        tol=0.0,
        alpha=0.0,
        epsilon=1e-7,
        random_state=0,
    )
    settings = [_settings(candidate) for candidate in candidates]
    return searched(estimator, workload, settings, _epochs, n_jobs=n_jobs)


def _settings(candidate: dict[str, Any]) -> dict[str, Any]:
    return {
        "hidden_layer_sizes": (candidate.get("units", 10),),
        "activation": _NAMES[candidate.get("activation", "relu")],
        "learning_rate_init": candidate.get("learning_rate", 0.001),
    }


def _epochs(estimator: Any) -> int:
    return int(estimator.n_iter_)
