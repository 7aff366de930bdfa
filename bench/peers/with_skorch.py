"""skorch under GridSearchCV, on PyTorch: the same layers, written for it."""

from __future__ import annotations

from typing import Any

import torch
from skorch import NeuralNetClassifier
from workloads import Workload, arguments_of

from .grid_search import searched
from .outcome import Outcome

_N_INPUTS = {"small": 4, "tuner": 64, "wide": 100}
_N_CLASSES = {"small": 3, "tuner": 10, "wide": 2}
_ACTIVATIONS = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh}


class Net(torch.nn.Module):
    """Dense layers, an activation after each, and logits."""

    def __init__(
        self, n_inputs: int, n_classes: int, widths: Any, activation: str, dropout: float
    ) -> None:
        super().__init__()
        layers: list[Any] = []
        for width in widths:
            layers += [torch.nn.Linear(n_inputs, width), _ACTIVATIONS[activation]()]
            n_inputs = width
        self.layers = torch.nn.Sequential(
            *layers, torch.nn.Dropout(dropout), torch.nn.Linear(n_inputs, n_classes)
        )
        for layer in self.layers:  # Keras's initial values
            if isinstance(layer, torch.nn.Linear):
                torch.nn.init.xavier_uniform_(layer.weight)
                torch.nn.init.zeros_(layer.bias)

    def forward(self, x: Any) -> Any:
        return self.layers(x)


def run(workload: Workload, candidates: list[dict[str, Any]]) -> Outcome:
    torch.manual_seed(0)
    wide = workload.builder == "wide"
    estimator: Any = NeuralNetClassifier(
        Net,
        module__n_inputs=_N_INPUTS[workload.builder],
        module__n_classes=_N_CLASSES[workload.builder],
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW if wide else torch.optim.Adam,
        optimizer__eps=1e-7,
        max_epochs=workload.epochs,
        batch_size=workload.batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return searched(estimator, workload, [_settings(one) for one in candidates], _epochs)


def _settings(candidate: dict[str, Any]) -> dict[str, Any]:
    given = arguments_of(candidate)
    settings = {
        "module__widths": given.get("widths", (given.get("units", 10),)),
        "module__activation": given.get("activation", "relu"),
        "module__dropout": given.get("dropout", 0.0),
        "optimizer__lr": given.get("learning_rate", 0.001),
    }
    if "weight_decay" in given:
        settings["module__widths"] = (512, 512)
        settings["optimizer__weight_decay"] = given["weight_decay"]
    return settings


def _epochs(estimator: Any) -> int:
    return len(estimator.history)
