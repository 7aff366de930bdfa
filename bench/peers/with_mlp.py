"""scikit-learn's own MLPClassifier and MLPRegressor under GridSearchCV."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
from networks import network_of
from parts import Part
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from workloads import Workload

from .grid_search import Candidate, Searched
from .grid_search import run as run_search
from .outcome import Outcome

_ACTIVATIONS = {"relu": "relu", "sigmoid": "logistic", "tanh": "tanh", "linear": "identity"}
_SOLVERS = {"Adam": "adam", "AdamW": "adam", "SGD": "sgd"}  # AdamW where nothing decays


def run(workload: Workload, part: Part, n_jobs: int = 1) -> Outcome:
    peer = Searched(_estimator, _epochs, _steps, partial(_settings, workload))
    return run_search(peer, workload, part, n_jobs)


class _AsKerasDoes:
    """It stops where the loss no longer falls, and draws its initial values otherwise.

    ``_init_coef`` is private to scikit-learn, whose version is pinned here: no parameter says how
    to begin, and after one epoch that is most of a score.
    """

    def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        bound = np.sqrt(6 / (fan_in + fan_out))
        drawn = self._random_state.uniform(-bound, bound, (fan_in, fan_out))  # type: ignore[attr-defined]
        return drawn.astype(dtype), np.zeros(fan_out, dtype)

    def fit(self, X: Any, y: Any) -> Any:
        self.n_iter_no_change = self.max_iter + 1  # type: ignore[attr-defined]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().fit(X, y)  # type: ignore[misc]


class _Classifier(_AsKerasDoes, MLPClassifier):
    pass


class _Regressor(_AsKerasDoes, MLPRegressor):
    pass


def _estimator(workload: Workload) -> Any:
    kind = _Regressor if workload.regression else _Classifier
    return kind(
        alpha=0.0, tol=0.0, epsilon=1e-7, nesterovs_momentum=False, random_state=workload.seed
    )


def _settings(workload: Workload, candidate: Candidate) -> Candidate:
    network = network_of(workload, candidate)
    return {
        "hidden_layer_sizes": network.widths,
        "activation": _ACTIVATIONS[network.activation],
        "solver": _SOLVERS[network.optimizer],
        "learning_rate_init": network.learning_rate,
        "momentum": network.momentum,
        "max_iter": workload.epochs_of(candidate),
        "batch_size": workload.batch_size_of(candidate),
    }


def _epochs(estimator: Any) -> int:
    return int(estimator.n_iter_)


def _steps(estimator: Any) -> None:
    """It cannot tell: ``t_`` counts rows."""
