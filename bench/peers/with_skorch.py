"""skorch under GridSearchCV, on PyTorch: the same layers, written for it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import torch_models
from networks import network_of
from parts import Part
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from workloads import Workload

from .grid_search import Candidate, Searched
from .grid_search import run as run_search
from .outcome import Outcome


def run(workload: Workload, part: Part) -> Outcome:
    torch.manual_seed(workload.seed)
    head = network_of(workload, workload.candidates[0]).head
    settings, target = partial(_settings, workload), _TARGETS[head]
    peer = Searched(_estimator, _epochs, _steps, settings, target=target)
    return run_search(peer, workload, part)


def _as_floats(y: Any) -> Any:
    return y.astype(np.float32)


def _as_column(y: Any) -> Any:
    return y.reshape(-1, 1)


def _as_they_are(y: Any) -> Any:
    return y


_TARGETS: dict[str, Any] = {"softmax": _as_they_are, "sigmoid": _as_floats, "linear": _as_column}


def _estimator(workload: Workload) -> Any:
    """The kind of its estimators that fits the target, with a loss on logits."""
    networks = [network_of(workload, candidate) for candidate in workload.candidates]
    bounded = any(network.max_norm for network in networks)
    kind, loss = {
        "softmax": (NeuralNetClassifier, torch.nn.CrossEntropyLoss),
        "sigmoid": (NeuralNetBinaryClassifier, torch.nn.BCEWithLogitsLoss),
        "linear": (NeuralNetRegressor, torch.nn.MSELoss),
    }[networks[0].head]
    return kind(
        torch_models.Net,
        criterion=loss,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[("max_norm", torch_models.MaxNorm())] if bounded else [],
        verbose=0,
    )


def _settings(workload: Workload, candidate: Candidate) -> Candidate:
    network = network_of(workload, candidate)
    return {
        "module__network": network,
        **torch_models.optimizer_settings(network),
        "max_epochs": workload.epochs_of(candidate),
        "batch_size": workload.batch_size_of(candidate),
        "lr": network.learning_rate,
    }


def _epochs(estimator: Any) -> int:
    return len(estimator.history)


def _steps(estimator: Any) -> int:
    return sum(len(epoch["batches"]) for epoch in estimator.history)
