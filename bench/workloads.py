"""The workloads: data, folds and candidates, as every peer gets them. Needs no Keras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
from sklearn.model_selection import ParameterGrid, RepeatedKFold, StratifiedKFold

Grid = dict[str, list[Any]] | list[dict[str, list[Any]]]
Fold = tuple[np.ndarray, np.ndarray]
OF_FIT = ("epochs", "batch_size")  # what of a candidate is the fit's; the rest is the builder's


@dataclass(frozen=True)
class Workload:
    """One search.

    Parameters
    ----------
    name, title : str
        Short, and for readers.
    data : callable
        Returns X in float32, and y.
    builder : str
        The function of ``keras_models`` that builds the model.
    grid : dict or list of dict
        Arguments of the builder; ``epochs`` and ``batch_size`` among them are the fit's.
    epochs, batch_size : int
        Where a candidate does not say.
    scaled : bool
        Whether a ``StandardScaler`` comes first, in a pipeline.
    regression : bool
        RepeatedKFold, 5 folds 3 times, instead of StratifiedKFold.
    n_splits : int
        Folds of a classifier.
    max_memory : int or None
        The bound in bytes that Amalthea is given.
    twice : bool
        No search: two fits on all rows, of which the second is measured.
    seed : int
        Another one in each run, so that scores tell how noisy they are.
    """

    name: str
    title: str
    data: Callable[[], datasets.Data]
    builder: str
    grid: Grid
    epochs: int
    batch_size: int = 32
    scaled: bool = False
    regression: bool = False
    n_splits: int = 3
    max_memory: int | None = None
    twice: bool = False
    seed: int = 0

    @property
    def candidates(self) -> list[dict[str, Any]]:
        return list(ParameterGrid(self.grid))

    def folds(self) -> list[Fold]:
        X, y = self.data()
        if self.regression:
            return list(RepeatedKFold(n_splits=5, n_repeats=3, random_state=0).split(X))
        return list(StratifiedKFold(self.n_splits).split(X, y))

    @property
    def n_folds(self) -> int:
        if self.twice:
            return 1
        return 15 if self.regression else self.n_splits

    @property
    def n_fits(self) -> int:
        return len(self.candidates) * self.n_folds

    def epochs_of(self, candidate: dict[str, Any]) -> int:
        return int(candidate.get("epochs", self.epochs))

    def batch_size_of(self, candidate: dict[str, Any]) -> int:
        return int(candidate.get("batch_size", self.batch_size))

    def steps_of(self, candidate: dict[str, Any]) -> float:
        """The steps of a fit, as a multiple of its rows."""
        return self.epochs_of(candidate) / self.batch_size_of(candidate)


def arguments_of(candidate: dict[str, Any]) -> dict[str, Any]:
    """What of a candidate the builder takes."""
    return {name: value for name, value in candidate.items() if name not in OF_FIT}


_SMALL: Grid = {"units": [5, 10, 15], "activation": ["relu", "sigmoid"]}
_PIPELINE: Grid = {"learning_rate": np.logspace(-4, -1, 50).tolist(), "units": [5, 10]}
_IMAGES: Grid = {"dropout": [0.0, 0.25, 0.5], "learning_rate": [1e-3, 3e-3]}
_WIDE: Grid = {"learning_rate": [1e-4, 1e-3, 1e-2], "weight_decay": [0.0, 1e-4, 1e-2]}
_SEQUENCE: Grid = {"units": [16, 32], "dropout": [0.0, 0.2]}
_REGRESSION: Grid = {"l2": [0.0, 1e-4, 1e-3], "learning_rate": [1e-3, 1e-2], "dropout": [0.0, 0.2]}
_TABLE: Grid = {"units": [4, 8], "learning_rate": [10.0**-n for n in range(1, 11)]}
_BROWNLEE: dict[str, dict[str, list[Any]]] = {
    "batches": {"batch_size": [10, 20, 40, 60, 80, 100], "epochs": [10, 50, 100]},
    "optimizer": {
        "optimizer_name": ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam"]
    },
    "sgd": {
        "optimizer_name": ["SGD"],
        "learning_rate": [0.001, 0.01, 0.1, 0.2, 0.3],
        "momentum": [0.0, 0.2, 0.4, 0.6, 0.8, 0.9],
    },
    "init": {
        "init": [
            *("uniform", "lecun_uniform", "normal", "zero"),
            *("glorot_normal", "glorot_uniform", "he_normal", "he_uniform"),
        ]
    },
    "activation": {
        "activation": [
            *("softmax", "softplus", "softsign", "relu"),
            *("tanh", "sigmoid", "hard_sigmoid", "linear"),
        ]
    },
    "dropout": {
        "dropout": [n / 10 for n in range(10)],
        "max_norm": [1.0, 2.0, 3.0, 4.0, 5.0],
    },
    "neurons": {"neurons": [1, 5, 10, 15, 20, 25, 30]},
}


def _tuner_grid() -> Grid:
    """60 candidates drawn from the space of KerasTuner's guide, each a grid of one point."""
    rng = np.random.RandomState(0)
    return [
        {
            "widths": [tuple(int(n) for n in rng.randint(1, 17, size=rng.randint(1, 4)) * 32)],
            "activation": [str(rng.choice(["relu", "tanh"]))],
            "dropout": [float(rng.choice([0.0, 0.25]))],
            "learning_rate": [float(10 ** rng.uniform(-4, -2))],
        }
        for _ in range(60)
    ]


def many(n_candidates: int = 2000) -> Workload:
    """Iris, five folds; up to 2,000 candidates, of which fewer are evenly spread."""
    grid: Grid = {
        "learning_rate": [1e-4 * 1.3**n for n in range(20)],
        "dropout": [0.05 * n for n in range(10)],
        "units": list(range(3, 13)),
    }
    title = f"{5 * n_candidates:,} fits on iris"
    if n_candidates == 2000:
        return _many("many", title, grid)
    every = list(ParameterGrid(grid))
    places = np.linspace(0, len(every) - 1, n_candidates).astype(int)
    points = [{name: [value] for name, value in every[place].items()} for place in places]
    return _many(f"many{n_candidates}", title, points)


def _many(name: str, title: str, grid: Grid) -> Workload:
    bound = 4_000_000_000
    return Workload(
        name, title, datasets.whole_iris, "small", grid, 20, n_splits=5, max_memory=bound
    )


def rows(n_rows: int) -> Workload:
    """18 fits on a table of so many rows, for the curve over the size of the data."""
    grid: Grid = {"learning_rate": [1e-3, 3e-3, 1e-2], "units": [8, 16]}
    title = f"18 fits on {n_rows:,} rows of 20 columns"
    data = datasets.table(n_rows, 20)
    return Workload(f"rows{n_rows}", title, data, "table", grid, 2, batch_size=256)


def _brownlee() -> list[Workload]:
    return [
        Workload(
            f"brownlee-{name}",
            f"Brownlee's grid: {name}",
            datasets.breast,
            "brownlee",
            grid,
            100,
            10,
        )
        for name, grid in _BROWNLEE.items()
    ]


_IRIS = datasets.iris
WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("tutorial1", "iris, 1 epoch", _IRIS, "small", _SMALL, 1),
        Workload("tutorial", "iris, 100 epochs", _IRIS, "small", _SMALL, 100),
        Workload("pipeline", "a scaler and iris", _IRIS, "small", _PIPELINE, 100, scaled=True),
        *_brownlee(),
        Workload("tuner", "KerasTuner's guide", datasets.digits, "tuner", _tuner_grid(), 10),
        Workload(
            "images", "a small CNN on digits", datasets.images, "cnn", _IMAGES, 5, batch_size=128
        ),
        Workload("wide", "512 x 512 units", datasets.wide, "wide", _WIDE, epochs=3, batch_size=256),
        Workload("sequence", "a GRU", datasets.sequence, "gru", _SEQUENCE, epochs=5),
        Workload(
            *("regression", "diabetes", datasets.diabetes, "regressor", _REGRESSION),
            epochs=50,
            scaled=True,
            regression=True,
        ),
        Workload(
            "single", "one fit after a first", _IRIS, "small", {"units": [5]}, 100, twice=True
        ),
        many(),
        Workload(
            *("table", "a table of 500 MB", datasets.table(1_250_000, 100), "table", _TABLE),
            epochs=1,
            batch_size=4096,
            max_memory=3_000_000_000,
        ),
    )
}


def workload(name: str) -> Workload:
    """A workload by its name; ``many20`` has 20 candidates, ``rows1000`` a table of 1,000 rows."""
    if name in WORKLOADS:
        return WORKLOADS[name]
    if name.startswith("many"):
        return many(int(name.removeprefix("many")))
    return rows(int(name.removeprefix("rows")))
