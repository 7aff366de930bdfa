"""Arrays that share their rows, as a model takes them: one array, or several in a dict or tuple."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import keras
import numpy as np

Arrays = Any  # an array, a SciPy sparse matrix, or a dict, tuple or list of them


def map_arrays(function: Callable[[Any], Any], arrays: Arrays) -> Arrays:
    if isinstance(arrays, dict):
        return {name: map_arrays(function, array) for name, array in arrays.items()}
    if isinstance(arrays, tuple | list):
        return type(arrays)(map_arrays(function, array) for array in arrays)
    return None if arrays is None else function(arrays)


def leaves(arrays: Arrays) -> list[Any]:
    """All arrays of a structure."""
    if isinstance(arrays, dict):
        arrays = tuple(arrays.values())
    if isinstance(arrays, tuple | list):
        return [leaf for part in arrays for leaf in leaves(part)]
    return [] if arrays is None else [arrays]


def first_array(arrays: Arrays) -> Any:
    if isinstance(arrays, dict):
        return first_array(next(iter(arrays.values())))
    return first_array(arrays[0]) if isinstance(arrays, tuple | list) else arrays


def count_rows(arrays: Arrays) -> int:
    return int(first_array(arrays).shape[0])


def take_raw(arrays: Arrays, rows: np.ndarray) -> Arrays:
    """Those rows, as they are stored."""
    return map_arrays(lambda array: array[rows], arrays)


def take(arrays: Arrays, rows: np.ndarray) -> Arrays:
    """Those rows, dense and in the types that Keras computes with."""
    return map_arrays(lambda array: in_keras_types(dense(array[rows])), arrays)


def dense(array: Any) -> np.ndarray:
    return array.toarray() if hasattr(array, "toarray") else array


def in_keras_types(array: np.ndarray) -> np.ndarray:
    """Cast floats to ``keras.config.floatx()``, as Keras does with arrays.

    Whole numbers become what the backend holds: JAX makes 32 bits of 64 unless told otherwise.
    """
    if np.issubdtype(array.dtype, np.floating):
        return array.astype(keras.config.floatx(), copy=False)
    dtype = array.dtype.newbyteorder("=")
    if dtype.kind in "iu" and keras.backend.backend() == "jax":
        dtype = jax.dtypes.canonicalize_dtype(dtype)
    return array.astype(dtype, copy=False)


def in_numpy_floats(array: Any) -> np.ndarray:
    """A model's output for NumPy and scikit-learn, which do not compute with bfloat16."""
    array = np.asarray(array)
    return array if array.dtype in ("float32", "float64") else array.astype("float32")


def fits_keras_floats(array: np.ndarray) -> bool:
    """Whether no finite value becomes infinite in Keras's float type."""
    floatx = keras.config.floatx()
    narrow = np.finfo("float16" if floatx == "float16" else "float32")
    wide = array.dtype.kind == "f" and array.dtype.itemsize > narrow.dtype.itemsize
    if not wide or not array.size or floatx == "float64":
        return True
    largest = float(narrow.max)
    return bool(array.max() <= largest and array.min() >= -largest)


@dataclass(frozen=True)
class Rows:
    """What a model is trained or judged on: inputs, targets and weights of the same rows."""

    x: Arrays
    y: Arrays
    sample_weight: Arrays = None

    def __len__(self) -> int:
        return count_rows(self.x)

    def all(self) -> tuple[Arrays, ...]:
        """Every row, as :meth:`take` gives them, without a copy where none is needed."""
        parts = (self.x, self.y, self.sample_weight)
        made = (map_arrays(lambda array: in_keras_types(dense(array)), part) for part in parts)
        return tuple(part for part in made if part is not None)

    def take(self, rows: np.ndarray) -> tuple[Arrays, ...]:
        parts = (self.x, self.y, self.sample_weight)
        return tuple(take(part, rows) for part in parts if part is not None)


def batch_like(rows: Rows, n_rows: int) -> tuple[Arrays, ...]:
    """Arrays with the shapes and types of a batch, to trace a step on."""

    def one(array: Any) -> jax.ShapeDtypeStruct:
        kept = in_keras_types(np.empty((0,), array.dtype)).dtype
        return jax.ShapeDtypeStruct((n_rows, *array.shape[1:]), kept)

    parts = (rows.x, rows.y, rows.sample_weight)
    return tuple(map_arrays(one, part) for part in parts if part is not None)
