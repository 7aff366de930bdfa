"""The workloads: data, folds and candidates, as every solver gets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_classification,
)
from sklearn.model_selection import ParameterGrid, RepeatedKFold, StratifiedKFold, train_test_split

Data = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Workload:
    """One search.

    Parameters
    ----------
    name : str
    data : callable
        Returns X in float32, and y.
    builder : str
        The function of ``keras_models`` that builds the model.
    candidates : list of dict
        Arguments of the builder; ``epochs`` and ``batch_size`` among them are the fit's.
    epochs, batch_size : int
        Where a candidate does not say.
    scaled : bool
        Whether a ``StandardScaler`` comes first, in a pipeline.
    regression : bool
    repeats : int
        Repetitions of the folds, for regression.
    tolerance : float
        How far the mean score of a solver may be from the others': initial values and the order of
        the rows differ, and so do scores.
    seconds : float
        About what a fit by Keras's own ``fit`` takes, to choose the part that slow solvers do.
    """

    name: str
    data: Callable[[], Data]
    builder: str
    candidates: list[dict[str, Any]]
    epochs: int
    batch_size: int = 32
    scaled: bool = False
    regression: bool = False
    repeats: int = 1
    tolerance: float = 0.05
    seconds: float = 1.0

    def folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        X, y = self.data()
        if self.regression:
            folds = RepeatedKFold(n_splits=5, n_repeats=self.repeats, random_state=0)
            return list(folds.split(X))
        return list(StratifiedKFold(self.n_splits).split(X, y))

    @property
    def n_splits(self) -> int:
        return 5 if self.regression or self.name.startswith("many") else 3

    @property
    def n_folds(self) -> int:
        return self.n_splits * (self.repeats if self.regression else 1)

    @property
    def n_fits(self) -> int:
        return len(self.candidates) * self.n_folds

    def epochs_of(self, candidate: dict[str, Any]) -> int:
        return int(candidate.get("epochs", self.epochs))

    def batch_size_of(self, candidate: dict[str, Any]) -> int:
        return int(candidate.get("batch_size", self.batch_size))

    def some(self, share: float) -> list[dict[str, Any]]:
        """Some of the candidates, evenly spread."""
        n = max(1, round(share * len(self.candidates)))
        places = np.linspace(0, len(self.candidates) - 1, n).round().astype(int)
        return [self.candidates[place] for place in sorted(set(places))]


def arguments_of(candidate: dict[str, Any]) -> dict[str, Any]:
    """What of a candidate the builder takes."""
    return {n: v for n, v in candidate.items() if n not in ("epochs", "batch_size")}


def _iris() -> Data:
    X, y = load_iris(return_X_y=True)
    X, _, y, _ = train_test_split(X, y, test_size=0.2, random_state=42)
    return X.astype("float32"), y


def _whole_iris() -> Data:
    X, y = load_iris(return_X_y=True)
    return X.astype("float32"), y


def _breast() -> Data:
    X, y = load_breast_cancer(return_X_y=True)
    X = X[:, :8]
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype("float32"), y


def _digits() -> Data:
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype("float32"), y


def _images() -> Data:
    X, y = _digits()
    return X.reshape(-1, 8, 8, 1), y


def _wide() -> Data:
    X, y = make_classification(20000, 100, n_informative=20, random_state=0)
    return X.astype("float32"), y


def _sequence() -> Data:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 32, 4)).astype("float32")
    return X, (X.mean(axis=(1, 2)) > 0).astype("int64")


def _diabetes() -> Data:
    X, y = load_diabetes(return_X_y=True, scaled=False)
    return X.astype("float32"), ((y - y.mean()) / y.std()).astype("float32")


def rows(n: int) -> Callable[[], Data]:
    """A table of so many rows, for the curve over the size of the data."""

    def data() -> Data:
        X, y = make_classification(n, 20, n_informative=10, random_state=0)
        return X.astype("float32"), y

    return data


_SMALL = {"units": [5, 10, 15], "activation": ["relu", "sigmoid"]}
_PIPELINE = {"learning_rate": np.logspace(-4, -1, 50).tolist(), "units": [5, 10]}
_TENTHS = [n / 10 for n in range(10)]
_BROWNLEE: list[dict[str, Any]] = [
    {"batch_size": [10, 20, 40, 60, 80, 100], "epochs": [10, 50, 100]},
    {"optimizer": ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam"]},
    {
        "optimizer": ["SGD"],
        "learning_rate": [0.001, 0.01, 0.1, 0.2, 0.3],
        "momentum": [0.0, 0.2, 0.4, 0.6, 0.8, 0.9],
    },
    {
        "init": [
            *("uniform", "lecun_uniform", "normal", "zero"),
            *("glorot_normal", "glorot_uniform", "he_normal", "he_uniform"),
        ]
    },
    {
        "activation": [
            *("softmax", "softplus", "softsign", "relu"),
            *("tanh", "sigmoid", "hard_sigmoid", "linear"),
        ]
    },
    {"dropout": _TENTHS, "max_norm": [1.0, 2.0, 3.0, 4.0, 5.0]},
    {"neurons": [1, 5, 10, 15, 20, 25, 30]},
]


def _tuner_candidates() -> list[dict[str, Any]]:
    rng = np.random.RandomState(0)
    return [
        {
            "widths": tuple(int(n) for n in rng.randint(1, 17, size=rng.randint(1, 4)) * 32),
            "activation": str(rng.choice(["relu", "tanh"])),
            "dropout": float(rng.choice([0.0, 0.25])),
            "learning_rate": float(10 ** rng.uniform(-4, -2)),
        }
        for _ in range(60)
    ]


def many(n_candidates: int = 2000) -> Workload:
    """Iris, five folds; up to 2,000 candidates."""
    grid = {
        "learning_rate": [1e-4 * 1.3**n for n in range(20)],
        "dropout": [0.05 * n for n in range(10)],
        "units": list(range(3, 13)),
    }
    every = list(ParameterGrid(grid))
    places = np.linspace(0, len(every) - 1, n_candidates).astype(int)
    name = "many" if n_candidates == len(every) else f"many{n_candidates}"
    return Workload(name, _whole_iris, "small", [every[place] for place in places], 20)


def _named(*workloads: Workload) -> dict[str, Workload]:
    return {workload.name: workload for workload in workloads}


WORKLOADS = _named(
    Workload(
        "tutorial1", _iris, "small", list(ParameterGrid(_SMALL)), 1, tolerance=0.25, seconds=0.7
    ),
    Workload(
        "tutorial", _iris, "small", list(ParameterGrid(_SMALL)), 100, tolerance=0.12, seconds=1.2
    ),
    Workload(
        "pipeline", _iris, "small", list(ParameterGrid(_PIPELINE)), 100, scaled=True, seconds=1.2
    ),
    Workload("brownlee", _breast, "brownlee", list(ParameterGrid(_BROWNLEE)), 100, 10, seconds=4.0),
    Workload("tuner", _digits, "tuner", _tuner_candidates(), 10, seconds=2.0),
    Workload(
        "images",
        _images,
        "cnn",
        list(ParameterGrid({"dropout": [0.0, 0.25, 0.5], "learning_rate": [1e-3, 3e-3]})),
        epochs=5,
        batch_size=128,
        seconds=2.0,
    ),
    Workload(
        "wide",
        _wide,
        "wide",
        list(
            ParameterGrid({"learning_rate": [1e-4, 1e-3, 1e-2], "weight_decay": [0.0, 1e-4, 1e-2]})
        ),
        epochs=3,
        batch_size=256,
        seconds=3.0,
    ),
    Workload(
        "sequence",
        _sequence,
        "gru",
        list(ParameterGrid({"units": [16, 32], "dropout": [0.0, 0.2]})),
        epochs=5,
        seconds=3.0,
    ),
    Workload(
        "regression",
        _diabetes,
        "regressor",
        list(
            ParameterGrid(
                {"l2": [0.0, 1e-4, 1e-3], "learning_rate": [1e-3, 1e-2], "dropout": [0.0, 0.2]}
            )
        ),
        epochs=50,
        scaled=True,
        regression=True,
        repeats=3,
        seconds=1.3,
        tolerance=0.1,
    ),
    many(),
)


def workload(name: str) -> Workload:
    """A workload by its name; ``many20`` has 20 candidates, ``rows1000`` a table of 1,000 rows."""
    if name in WORKLOADS:
        return WORKLOADS[name]
    if name.startswith("many"):
        return many(int(name.removeprefix("many")))
    grid = list(ParameterGrid({"learning_rate": [1e-3, 3e-3, 1e-2]}))
    return Workload(name, rows(int(name.removeprefix("rows"))), "table", grid, epochs=2)
