"""Rows on the device: each distinct array once, by content.

The folds of a cross-validation come as copies, made anew for every candidate. Arrays with equal
content are told by a few of their rows first and then compared whole, so that equal means equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .rows import Arrays, Rows, in_keras_types, leaves, map_arrays

_ROWS_LOOKED_AT = 16


class Pool:
    """The arrays of some requests that are answered together. Nothing outlives the pool."""

    def __init__(self) -> None:
        self._alike: dict[Any, list[np.ndarray]] = {}
        self._first: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # keeps both alive
        self._made: dict[Any, Any] = {}

    def shared(self, rows: Rows) -> Rows:
        """The same rows, as the first arrays of equal content that came here."""
        return Rows(*(map_arrays(self._shared, part) for part in _parts(rows)))

    def content(self, array: np.ndarray) -> bytes:
        """Equal for arrays of equal content, also of another pool."""
        return self._once(("content", id(array)), lambda: _digest(array))

    def on_device(self, rows: Rows, room: int | None = None) -> Any:
        """All rows as arrays of the device, with room for so many."""

        def one(array: Any) -> Any:
            return self._on_device(array, room or len(array))

        return tuple(map_arrays(one, part) for part in _parts(rows) if part is not None)

    def stacked(
        self, rows: Sequence[Rows], room: tuple[int, int] | None = None
    ) -> tuple[Any, np.ndarray]:
        """Arrays of shape (n_distinct, n_rows, ...), and which of them each fit takes.

        ``room`` has these two numbers, where there is to be room for more than there are.
        """
        distinct = {addresses(part): part for part in rows}
        number = {addresses: n for n, addresses in enumerate(distinct)}
        which = np.array([number[addresses(part)] for part in rows], dtype="int32")
        parts = [tuple(p for p in _parts(part) if p is not None) for part in distinct.values()]
        room = room or (len(parts), max(map(len, distinct.values())))
        return self._stacked(parts, room), which

    def _on_device(self, array: Any, n_rows: int) -> Any:
        if n_rows == len(array):
            return self._once(id(array), lambda: jax.device_put(in_keras_types(array)))
        key = n_rows, id(array)
        return self._once(key, lambda: jax.device_put(_with_room([array], (1, n_rows))[0]))

    def _stacked(self, parts: list[Any], room: tuple[int, int]) -> Any:
        first = parts[0]
        if first is None:
            return None
        if isinstance(first, dict):
            return {name: self._stacked([part[name] for part in parts], room) for name in first}
        if isinstance(first, tuple | list):
            return type(first)(
                self._stacked(list(group), room) for group in zip(*parts, strict=True)
            )
        key = (room, *(id(array) for array in parts))
        return self._once(key, lambda: jax.device_put(_with_room(parts, room)))

    def _shared(self, array: np.ndarray) -> np.ndarray:
        if id(array) not in self._first:
            key = (array.shape, array.dtype.str, _look(array))
            alike = self._alike.setdefault(key, [])
            same = next((other for other in alike if _equal(array, other)), array)
            if same is array:
                alike.append(array)
            self._first[id(array)] = (same, array)
        return self._first[id(array)][0]

    def _once(self, key: Any, make: Any) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _parts(rows: Rows) -> tuple[Arrays, Arrays, Arrays]:
    return rows.x, rows.y, rows.sample_weight


def bytes_of_rows(rows: Rows) -> int:
    return sum(array.nbytes for array in leaves(_parts(rows)))


def addresses(rows: Rows) -> tuple[int, ...]:
    """Equal for rows that share their arrays."""
    return tuple(id(leaf) for leaf in leaves(_parts(rows)))


def _look(array: np.ndarray) -> bytes:
    rows = np.linspace(0, max(len(array) - 1, 0), min(_ROWS_LOOKED_AT, len(array))).astype(int)
    return np.ascontiguousarray(array[rows]).tobytes()


def _digest(array: np.ndarray) -> bytes:
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view("uint8").data)
    return digest.digest()


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Bit by bit: NaN equals NaN, and 0.0 does not equal -0.0."""
    flat = [np.ascontiguousarray(array).reshape(-1).view("uint8") for array in (one, other)]
    return bool(np.array_equal(flat[0], flat[1]))


def _with_room(parts: list[Any], room: tuple[int, int]) -> np.ndarray:
    """Arrays as one of shape (*room, ...), zeros where they have no row."""
    first = in_keras_types(parts[0])
    stacked = np.zeros((*room, *first.shape[1:]), first.dtype)
    for place, array in zip(stacked, parts, strict=False):
        place[: len(array)] = in_keras_types(array)
    return stacked
