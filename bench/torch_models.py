"""The models of the workloads in PyTorch, with Keras's initial values and optimizer settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from networks import Network
from skorch.callbacks import Callback
from torch import nn

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softmax": partial(nn.Softmax, dim=1),
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "hard_sigmoid": nn.Hardsigmoid,
    "linear": nn.Identity,
}
_EPSILON = 1e-7


class Net(nn.Module):
    """A network that returns logits, or the numbers of a regressor."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.layers = _LAYERS[network.kind](network)
        for layer in self.layers:
            if isinstance(layer, nn.Linear | nn.Conv2d):
                initialize(layer.weight, network.init)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Any) -> Any:
        out = self.layers(x)
        return out[:, 0] if self.network.head == "sigmoid" else out


def _dense(network: Network) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = network.inputs
    for width in network.widths:
        layers += [nn.Linear(inputs, width), _ACTIVATIONS[network.activation]()]
        inputs = width
    if network.dropout:
        layers.append(nn.Dropout(network.dropout))
    return nn.Sequential(*layers, nn.Linear(inputs, network.outputs))


def _cnn(network: Network) -> nn.Sequential:
    return nn.Sequential(
        _ChannelsFirst(),
        *(nn.Conv2d(1, 32, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(network.dropout), nn.Linear(256, network.outputs)),
    )


class _ChannelsFirst(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.permute(0, 3, 1, 2)


def _gru(network: Network) -> nn.Sequential:
    return nn.Sequential(_LastOfGRU(network), nn.Linear(network.widths[0], network.outputs))


class _LastOfGRU(nn.Module):
    """The last output of a GRU whose inputs are dropped alike at all steps, as Keras does it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.gru = nn.GRU(network.inputs, network.widths[0], batch_first=True)
        self.dropout = nn.Dropout(network.dropout)
        nn.init.xavier_uniform_(self.gru.weight_ih_l0)
        nn.init.orthogonal_(self.gru.weight_hh_l0)
        nn.init.zeros_(self.gru.bias_ih_l0)
        nn.init.zeros_(self.gru.bias_hh_l0)

    def forward(self, x: Any) -> Any:
        kept = self.dropout(torch.ones_like(x[:, :1]))
        return self.gru(x * kept)[0][:, -1]


_LAYERS: dict[str, Callable[[Network], nn.Sequential]] = {
    "dense": _dense,
    "cnn": _cnn,
    "gru": _gru,
}


def initialize(weight: Any, name: str) -> None:
    """Keras's initial values; its truncated normal ones are drawn with the same cut."""
    fan_in, _ = nn.init._calculate_fan_in_and_fan_out(weight)
    if name == "glorot_uniform":
        nn.init.xavier_uniform_(weight)
    elif name == "he_uniform":
        nn.init.kaiming_uniform_(weight, nonlinearity="relu")
    elif name == "lecun_uniform":
        nn.init.kaiming_uniform_(weight, nonlinearity="linear")
    elif name == "uniform":
        nn.init.uniform_(weight, -0.05, 0.05)
    elif name == "normal":
        nn.init.normal_(weight, std=0.05)
    elif name == "zero":
        nn.init.zeros_(weight)
    elif name == "he_normal":
        _truncated(weight, (2 / fan_in) ** 0.5)
    else:
        _truncated(weight, (2 / sum(weight.shape)) ** 0.5)  # glorot_normal


def _truncated(weight: Any, std: float) -> None:
    std /= 0.8796  # what cutting at two deviations takes away
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def optimizer_settings(network: Network) -> dict[str, Any]:
    """skorch's parameters for Keras's settings, which are often not PyTorch's own."""
    kind, arguments = {
        "SGD": (torch.optim.SGD, {"momentum": network.momentum}),
        "RMSprop": (torch.optim.RMSprop, {"alpha": 0.9, "eps": _EPSILON}),
        "Adagrad": (torch.optim.Adagrad, {"initial_accumulator_value": 0.1, "eps": _EPSILON}),
        "Adadelta": (torch.optim.Adadelta, {"rho": 0.95, "eps": _EPSILON}),
        "Adam": (torch.optim.Adam, {"eps": _EPSILON}),
        "AdamW": (torch.optim.AdamW, {"eps": _EPSILON, "weight_decay": network.weight_decay}),
        "Adamax": (torch.optim.Adamax, {"eps": _EPSILON}),
        "Nadam": (torch.optim.NAdam, {"eps": _EPSILON}),
    }[network.optimizer]
    settings = {f"optimizer__{name}": value for name, value in arguments.items()}
    # Keras's L2 is on the kernel of the hidden layer alone; its gradient is twice the weight.
    groups = [("layers.0.weight", {"weight_decay": 2 * network.l2})] if network.l2 else None
    return {"optimizer": kind, **settings, "optimizer__param_groups": groups or []}


class MaxNorm(Callback):
    """Bounds the incoming weights of each hidden unit after each step, where it is asked for."""

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        bound = net.module_.network.max_norm
        if bound is not None and training:
            with torch.no_grad():
                weight = net.module_.layers[0].weight
                norms = weight.norm(dim=1, keepdim=True)
                weight.mul_(norms.clamp(max=bound) / (norms + _EPSILON))
