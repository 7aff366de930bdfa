"""Several named input arrays that travel together as one X."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .errors import InvalidData


class Inputs:
    """Several input arrays with the same rows, for models with several inputs.

    scikit-learn's splitters, searches and pipelines accept it wherever they accept an array:
    it has a length and a shape, and indexing it by rows gives an :class:`Inputs` of those rows.

    Parameters
    ----------
    **arrays : array-like of shape (n_samples, ...)
        One array for each input of the model, named as the model names its inputs. Data frames
        and lists are converted to NumPy arrays.

    Raises
    ------
    InvalidData
        When there is no array, an array has no rows dimension, or the numbers of rows differ.

    Examples
    --------
    >>> import numpy as np
    >>> from amalthea import Inputs
    >>> X = Inputs(a=np.zeros((6, 3)), c=np.zeros((6, 8, 8, 1)))
    >>> len(X), X[[0, 2]]
    (6, Inputs(a=(2, 3), c=(2, 8, 8, 1)))
    """

    def __init__(self, /, **arrays: Any) -> None:
        if not arrays:
            raise InvalidData("Inputs() needs at least one named array, and got none.")
        self._arrays = {name: _as_rows(name, array) for name, array in arrays.items()}
        lengths = {name: len(array) for name, array in self._arrays.items()}
        if len(set(lengths.values())) > 1:
            raise InvalidData(f"All arrays of Inputs need the same number of rows; got {lengths}.")

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Inputs:
        """Make an :class:`Inputs` from a mapping whose keys need not be identifiers."""
        return cls(**{str(name): array for name, array in arrays.items()})

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_samples, n_inputs)``."""
        return len(self), len(self._arrays)

    @property
    def ndim(self) -> int:
        return 2

    def keys(self) -> list[str]:
        return list(self._arrays)

    def items(self) -> list[tuple[str, np.ndarray]]:
        return list(self._arrays.items())

    def values(self) -> list[np.ndarray]:
        return list(self._arrays.values())

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("Inputs is indexed by rows; iterate over .items() for the arrays.")

    def __getitem__(self, rows: Any) -> Any:
        """The array of that name when ``rows`` is a string, else those rows of every array."""
        if isinstance(rows, str):
            return self._arrays[rows]
        if isinstance(rows, tuple):  # scikit-learn asks for X[rows, ...]
            rows = rows[0]
        if isinstance(rows, int | np.integer):
            rows = [rows]
        return Inputs.of({name: array[rows] for name, array in self._arrays.items()})

    def __repr__(self) -> str:
        return f"Inputs({', '.join(f'{name}={a.shape}' for name, a in self._arrays.items())})"


def _as_rows(name: str, array: Any) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim == 0:
        raise InvalidData(f"Inputs needs arrays of rows; {name!r} is the scalar {array!r}.")
    return array
