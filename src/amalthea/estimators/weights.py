"""Weights of rows: the caller's, those of the classes, and both multiplied."""

from __future__ import annotations

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
    weights = np.array(sample_weight, dtype=keras.config.floatx())
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
    weights: np.ndarray | None, class_weight: Any, labels: np.ndarray
) -> np.ndarray | None:
    """Weights of the rows times those of their classes.

    Parameters
    ----------
    weights : ndarray or None
    class_weight : dict, list of dict, "balanced" or None
        By the labels as the user writes them.
    labels : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    """
    if class_weight is None:
        return weights
    try:
        by_class = compute_sample_weight(class_weight, labels)
    except (TypeError, ValueError) as error:
        raise InvalidParameter(
            "class_weight must be a dict of weights by class, 'balanced' or None; got "
            f"{class_weight!r}: {error}"
        ) from error
    by_class = by_class.astype(keras.config.floatx())
    return by_class if weights is None else weights * by_class
