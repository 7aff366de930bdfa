"""The peers: how each is started, what it was given, what it cannot do. Imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from networks import Network, has_network, network_of
from workloads import Workload

HOME = "amalthea"  # the environment that the bench itself runs in
ARITHMETIC = ("tuner", "images", "wide", "sequence")  # workloads whose limit is arithmetic


def _anything(network: Network) -> bool:
    return True


def _of_mlp(network: Network) -> bool:
    """What MLPClassifier and MLPRegressor can express."""
    return (
        network.kind == "dense"
        and not (network.dropout or network.l2 or network.max_norm or network.weight_decay)
        and network.init == "glorot_uniform"
        and network.activation in ("relu", "sigmoid", "tanh", "linear")
        and network.optimizer in ("Adam", "AdamW", "SGD")
    )


@dataclass(frozen=True)
class Peer:
    """One column of the comparison.

    Parameters
    ----------
    name, title : str
        Short, and for readers.
    module : str
        The file of ``peers`` that has its ``run``; ``options`` go to that.
    environment : str
        A file of pinned packages, or ``HOME``.
    whole : bool
        Whether no part stands for the whole.
    only, never : tuple of str
        Workloads that it takes part in, where it is not all; and those that it does not.
    expresses : callable
        Whether it can express a network; candidates of which it cannot are left out.
    """

    name: str
    title: str
    module: str
    environment: str
    options: dict[str, Any] = field(default_factory=dict)
    whole: bool = False
    backend: str = "jax"
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    expresses: Callable[[Network], bool] = _anything

    @property
    def n_jobs(self) -> int:
        return int(self.options.get("n_jobs", 1))

    def can(self, workload: Workload) -> bool:
        asked = not self.only or workload.name in self.only
        return asked and workload.name not in self.never and bool(self.candidates_of(workload))

    def candidates_of(self, workload: Workload) -> tuple[int, ...]:
        """The numbers of the candidates that it can express."""
        numbers = tuple(range(len(workload.candidates)))
        if self.expresses is _anything:
            return numbers
        if not has_network(workload):
            return ()
        candidates = workload.candidates
        return tuple(n for n in numbers if self.expresses(network_of(workload, candidates[n])))


_TWO = {"n_jobs": 2}
_UNLIKE = ("single", "table")  # one is no search, the other is about memory
_WHERE_TWO = ("tutorial1", "tutorial", "pipeline")  # enough to see what a second process brings
_NOT_LIMITED = (*ARITHMETIC, *_UNLIKE)

PEERS = {
    peer.name: peer
    for peer in (
        Peer("amalthea", "Amalthea", "with_amalthea", HOME, whole=True),
        Peer("limit", "hand-written JAX", "with_jax", "keras", whole=True, never=_NOT_LIMITED),
        Peer("keras", "Keras, one at a time", "by_hand", "keras"),
        Peer(
            "wrappers",
            "keras.wrappers",
            "with_keras_wrappers",
            "keras",
            never=("images", "sequence", "table", "many"),
        ),
        Peer(
            "scikeras",
            "SciKeras",
            "with_scikeras",
            "scikeras",
            backend="tensorflow",
            never=("table", "many"),
        ),
        Peer(
            "scikeras2",
            "SciKeras, n_jobs=2",
            "with_scikeras",
            "scikeras",
            options=_TWO,
            backend="tensorflow",
            only=_WHERE_TWO,
        ),
        Peer(
            "tuner",
            "KerasTuner",
            "with_keras_tuner",
            "keras-tuner",
            never=(*_UNLIKE, "many"),
        ),
        Peer(
            "random",
            "KerasTuner, RandomSearch",
            "with_keras_tuner",
            "keras-tuner",
            options={"tuner": "RandomSearch"},
            only=("tuner",),
        ),
        Peer("optuna", "Optuna", "with_optuna", "optuna", never=(*_UNLIKE, "many")),
        Peer(
            "skorch",
            "skorch",
            "with_skorch",
            "skorch",
            backend="torch",
            never=("table", "many"),
        ),
        Peer(
            "mlp",
            "scikit-learn's MLP",
            "with_mlp",
            "scikit-learn",
            never=("table",),
            expresses=_of_mlp,
        ),
        Peer(
            "mlp2",
            "scikit-learn's MLP, n_jobs=2",
            "with_mlp",
            "scikit-learn",
            options=_TWO,
            never=_UNLIKE,
            expresses=_of_mlp,
        ),
    )
}
