"""The models of the workloads as plain data, for solvers that do not build them with Keras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workloads import Workload, arguments_of


@dataclass(frozen=True)
class Network:
    """A model and its optimizer; names are Keras's.

    ``kind`` is ``"dense"``, ``"cnn"`` or ``"gru"``; a CNN's and a GRU's sizes follow from that,
    but for the units of the GRU, in ``widths``.
    """

    inputs: int
    widths: tuple[int, ...]
    outputs: int
    head: str = "softmax"
    kind: str = "dense"
    activation: str = "relu"
    dropout: float = 0.0
    l2: float = 0.0
    max_norm: float | None = None
    init: str = "glorot_uniform"
    optimizer: str = "Adam"
    learning_rate: float = 0.001
    momentum: float = 0.0
    weight_decay: float = 0.0


def network_of(workload: Workload, candidate: dict[str, Any]) -> Network:
    return _BUILDERS[workload.builder](**arguments_of(candidate))


def _small(units: int = 10, **rest: Any) -> Network:
    return Network(4, (units,), 3, **rest)


def _brownlee(
    neurons: int = 12,
    optimizer_name: str = "Adam",
    learning_rate: float | None = None,
    **rest: Any,
) -> Network:
    if learning_rate is None:
        learning_rate = 0.01 if optimizer_name == "SGD" else 0.001  # Keras's defaults
    rest |= {"optimizer": optimizer_name, "learning_rate": learning_rate}
    return Network(8, (neurons,), 1, "sigmoid", **rest)


def _tuner(widths: tuple[int, ...] = (64,), **rest: Any) -> Network:
    return Network(64, tuple(widths), 10, **rest)


def _wide(**rest: Any) -> Network:
    return Network(100, (512, 512), 2, optimizer="AdamW", **rest)


def _cnn(**rest: Any) -> Network:
    return Network(64, (), 10, kind="cnn", **rest)


def _gru(units: int = 16, **rest: Any) -> Network:
    return Network(4, (units,), 2, kind="gru", **rest)


def _regressor(**rest: Any) -> Network:
    return Network(10, (64,), 1, "linear", **rest)


_BUILDERS: dict[str, Callable[..., Network]] = {
    "small": _small,
    "brownlee": _brownlee,
    "tuner": _tuner,
    "wide": _wide,
    "cnn": _cnn,
    "gru": _gru,
    "regressor": _regressor,
}


def shape_of(workload: Workload, candidate: dict[str, Any]) -> Any:
    """What of a candidate its arrays and their first values depend on, but for numbers."""
    if not has_network(workload):
        return candidate["units"]
    network = network_of(workload, candidate)
    return network.widths, network.init, network.optimizer


def has_network(workload: Workload) -> bool:
    return workload.builder in _BUILDERS
