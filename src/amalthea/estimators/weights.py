"""Weights of rows: the caller's, those of the classes, and both multiplied."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from ..errors import InvalidData, InvalidParameter


def read_weights(sample_weight: Any, n_samples: int) -> np.ndarray | None:
    """The caller's weights as a new array of shape (n_samples,), or None.

    Raises
    ------
    InvalidData
        For another length or shape, NaN, infinity, or only zeros.
    """
    if sample_weight is None:
        return None
    try:
        weights = np.array(sample_weight, dtype=keras.config.floatx())
    except (TypeError, ValueError) as error:
        raise InvalidData(f"sample_weight must be numbers: {error}") from error
    if weights.ndim == 0:
        weights = np.full(n_samples, weights)
    if weights.ndim == 2 and weights.shape[1] == 1:
        weights = weights[:, 0]
    if weights.ndim != 1:
        raise InvalidData(f"Sample weights must be 1D array or scalar, got {weights.ndim}D array.")
    if len(weights) != n_samples:
        raise InvalidData(
            f"sample_weight.shape == {weights.shape}, expected {(n_samples,)}: one weight a row."
        )
    if not np.isfinite(weights).all():
        raise InvalidData("Input sample_weight contains NaN or infinity.")
    if n_samples and not weights.any():
        raise InvalidData("sample_weight is zero for every row; nothing is left to train on.")
    return weights


def with_class_weights(
    weights: np.ndarray | None, class_weight: Any, labels: np.ndarray, classes: Any
) -> np.ndarray | None:
    """Weights of the rows times those of their classes.

    Parameters
    ----------
    weights : ndarray or None
    class_weight : dict, list of dict, "balanced" or None
        By the labels as the user writes them.
    labels : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    classes : ndarray, or list of ndarray for several outputs
        All classes there are, of which these labels may lack some.

    Raises
    ------
    InvalidParameter
        For another kind of value, a class that there is not, or a weight below zero.
    """
    if class_weight is None:
        return weights
    if isinstance(class_weight, str) and class_weight == "balanced":
        by_class = compute_sample_weight("balanced", labels)
    else:
        by_class = _by_class(class_weight, labels, classes)
    by_class = by_class.astype(keras.config.floatx())
    return by_class if weights is None else weights * by_class


def _by_class(class_weight: Any, labels: np.ndarray, classes: Any) -> np.ndarray:
    columns = labels.reshape(len(labels), -1).T
    tables = [class_weight] if labels.ndim == 1 else class_weight
    known = [classes] if labels.ndim == 1 else classes
    if len(known) != len(columns):  # the labels of a multilabel target are there or not
        known = [np.array([0, 1])] * len(columns)
    right = isinstance(tables, list | tuple) and len(tables) == len(columns)
    if not right or not all(isinstance(table, Mapping) for table in tables):
        wanted = "a dict" if labels.ndim == 1 else f"a list of {len(columns)} dicts"
        raise InvalidParameter(
            f"class_weight must be {wanted} of weights by class, 'balanced' or None; got "
            f"{class_weight!r}."
        )
    weights = np.ones(len(labels))
    for column, table, there_are in zip(columns, tables, known, strict=True):
        for label, weight in table.items():
            weights[column == label] *= _checked(class_weight, label, weight, there_are)
    return weights


def _checked(class_weight: Any, label: Any, weight: Any, classes: np.ndarray) -> float:
    if not any(label == known for known in classes):
        raise InvalidParameter(
            f"class_weight={class_weight!r} names the class {label!r}, but the classes are "
            f"{np.asarray(classes).tolist()}."
        )
    if not isinstance(weight, numbers.Real) or not 0 <= float(weight) < np.inf:
        raise InvalidParameter(
            f"class_weight must hold finite numbers of at least 0; got {weight!r} for {label!r}."
        )
    return float(weight)
