"""The data of the workloads: X in float32, and y. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_classification,
)
from sklearn.model_selection import train_test_split

Data = tuple[np.ndarray, np.ndarray]


def iris() -> Data:
    X, y = load_iris(return_X_y=True)
    X, _, y, _ = train_test_split(X, y, test_size=0.2, random_state=42)
    return X.astype("float32"), y


def whole_iris() -> Data:
    X, y = load_iris(return_X_y=True)
    return X.astype("float32"), y


def breast() -> Data:
    X, y = load_breast_cancer(return_X_y=True)
    X = X[:, :8]
    return ((X - X.mean(axis=0)) / X.std(axis=0)).astype("float32"), y


def digits() -> Data:
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype("float32"), y


def images() -> Data:
    X, y = digits()
    return X.reshape(-1, 8, 8, 1), y


def wide() -> Data:
    X, y = make_classification(20000, 100, n_informative=20, random_state=0)
    return X.astype("float32"), y


def sequence() -> Data:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 32, 4)).astype("float32")
    return X, (X.mean(axis=(1, 2)) > 0).astype("int64")


def diabetes() -> Data:
    X, y = load_diabetes(return_X_y=True, scaled=False)
    return X.astype("float32"), ((y - y.mean()) / y.std()).astype("float32")


def table(n_rows: int, n_columns: int) -> Callable[[], Data]:
    def data() -> Data:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n_rows, n_columns), dtype="float32")
        return X, (X[:, 0] > 0).astype("int64")

    return data
