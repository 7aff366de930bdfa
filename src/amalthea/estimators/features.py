"""X as a model takes it: one array of any rank, or several named or ordered ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, validate_data

from ..engine.rows import Arrays, fits_keras_floats, map_arrays
from ..errors import InvalidData
from ..inputs import Inputs

_FLOATS = (np.dtype("float32"), np.dtype("float64"))  # in the byte order of the machine

Shapes = Any  # a shape without its rows, or a dict or tuple of them


def read_features(estimator: BaseEstimator, X: Any, *, reset: bool) -> Arrays:
    """Check X and give it as arrays.

    With ``reset`` the estimator learns ``n_features_in_``, ``feature_names_in_`` and the shape
    of a row; without it X is held against what was learned.

    Returns
    -------
    ndarray, CSR matrix, or dict or tuple of ndarrays

    Raises
    ------
    ValueError
        For NaN or infinity, X without rows or features, and, without ``reset``, for other
        features than those of ``fit``.
    """
    arrays = _several(X) if _is_several(X) else _single(estimator, X, reset)
    map_arrays(_check_range, arrays)
    shapes = map_arrays(lambda array: tuple(array.shape[1:]), arrays)
    if reset:
        if _is_several(X):
            estimator.n_features_in_ = _count_features(shapes)
            vars(estimator).pop("feature_names_in_", None)
        estimator._row_shapes = shapes
    elif not _fits(shapes, estimator._row_shapes, estimator._input_shapes):
        raise InvalidData(
            f"X must have the rows that fit saw, of shape {estimator._row_shapes}; "
            f"got rows of shape {shapes}."
        )
    return arrays


def describe_features(template: Arrays, n_samples: int) -> dict[str, Any]:
    """What a builder may want to know of X, from arrays like it without rows."""
    return {
        "n_features_in_": _count_features(map_arrays(lambda array: array.shape[1:], template)),
        "X_shape_": map_arrays(lambda array: (n_samples, *array.shape[1:]), template),
        "X_dtype_": map_arrays(lambda array: array.dtype, template),
    }


def _is_several(X: Any) -> bool:
    if isinstance(X, tuple):
        return bool(X) and all(np.ndim(part) >= 1 and hasattr(part, "shape") for part in X)
    return isinstance(X, Inputs | Mapping) and not issparse(X)  # a DOK matrix is a dict


def _several(X: Any) -> Arrays:
    if isinstance(X, tuple):
        arrays: Arrays = tuple(_checked(f"X[{i}]", part) for i, part in enumerate(X))
        parts = dict(enumerate(arrays))
    else:
        parts = arrays = {str(n): _checked(f"X[{n!r}]", part) for n, part in X.items()}
    lengths = {name: len(array) for name, array in parts.items()}
    if len(set(lengths.values())) != 1:
        raise InvalidData(f"All arrays of X need the same number of rows; got {lengths}.")
    return arrays


def _checked(name: str, array: Any) -> np.ndarray:
    return check_array(
        array, dtype=_wanted_type(array), allow_nd=True, ensure_2d=False, input_name=name
    )


def _single(estimator: BaseEstimator, X: Any, reset: bool) -> Arrays:
    if not reset and getattr(X, "ndim", 2) > 2:
        # scikit-learn counts X.shape[1] as the features; in a sequence it is the time, which
        # may vary. The shapes are compared below.
        return _checked("X", X)
    if _is_plain(X):  # a few checks less for each fit of a search
        if reset:
            estimator.n_features_in_ = X.shape[1]
            vars(estimator).pop("feature_names_in_", None)
        elif "feature_names_in_" in vars(estimator) or X.shape[1] != estimator.n_features_in_:
            return validate_data(estimator, X, reset=reset, skip_check_array=True)
        return X
    return validate_data(
        estimator, X, reset=reset, accept_sparse="csr", dtype=_wanted_type(X), allow_nd=True
    )


def _is_plain(X: Any) -> bool:
    """Whether X is a table of finite numbers, in which scikit-learn changes nothing."""
    if type(X) is not np.ndarray or X.ndim != 2 or not X.size or X.dtype not in _FLOATS:
        return False
    return bool(np.isfinite(X).all())


def _check_range(array: Any) -> None:
    values = array.data if issparse(array) else array
    if not fits_keras_floats(values):
        raise InvalidData(
            "Input X contains infinity or a value too large for Keras's "
            f"{keras.config.floatx()}: its values go from {values.min():g} to {values.max():g}."
        )


def _wanted_type(X: Any) -> str | None:
    """Numbers, unless X is an array of strings or bytes, which only the model can understand."""
    return None if getattr(getattr(X, "dtype", None), "kind", "") in ("U", "S") else "numeric"


def _count_features(shapes: Shapes) -> int:
    if not isinstance(shapes, dict) and not (shapes and isinstance(shapes[0], tuple)):
        shapes = (shapes,)
    several = shapes.values() if isinstance(shapes, dict) else shapes
    return sum(shape[0] if shape else 1 for shape in several)


def _fits(shapes: Shapes, learned: Shapes, accepted: Shapes) -> bool:
    """Equal to what fit saw, but for the dimensions that the model leaves open."""
    if isinstance(shapes, dict) or isinstance(learned, dict):
        return (
            isinstance(shapes, dict)
            and isinstance(learned, dict)
            and shapes.keys() == learned.keys()
            and all(_fits(shapes[n], learned[n], _part(accepted, n)) for n in learned)
        )
    if len(shapes) != len(learned):
        return False
    if learned and isinstance(learned[0], tuple):
        return all(
            _fits(s, t, _part(accepted, i))
            for i, (s, t) in enumerate(zip(shapes, learned, strict=True))
        )
    open_dimensions = accepted if accepted is not None else learned
    if len(open_dimensions) != len(learned):
        return bool(shapes == learned)
    return all(
        size == seen or wanted is None
        for size, seen, wanted in zip(shapes, learned, open_dimensions, strict=True)
    )


def _part(accepted: Shapes, key: Any) -> Shapes:
    if isinstance(accepted, dict) and isinstance(key, int):
        accepted = list(accepted.values())
    if isinstance(accepted, dict):
        return accepted.get(key)
    if isinstance(accepted, list | tuple) and isinstance(key, int) and key < len(accepted):
        return accepted[key] if isinstance(accepted[key], tuple) else None
    return None
