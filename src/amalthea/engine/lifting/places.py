"""Where the values of each model stand among those of a family of models."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from ..steps import Address, State
from .weaving import Slot

_SAME_SHAPE, _SAME_RANK = 4, 1
GROUPS = ("trainable", "non_trainable", "optimizer")


def slots(groups: Sequence[Sequence[Any]]) -> list[Slot]:
    """Places that serve the arrays of every variant, given by shapes and types, in their order."""
    joined: list[list[int | None]] = [[n] for n in range(len(groups[0]))]
    shown = list(groups[0])
    first_of: dict[Hashable, int] = {}
    for variant, group in enumerate(groups):
        twin = first_of.setdefault(tuple((a.shape, a.dtype) for a in group), variant)
        if variant == 0:
            continue
        if twin != variant:
            joined = [[*places, places[twin]] for places in joined]
            continue
        pairs = _aligned(shown, groups[variant])
        before = [None] * variant
        joined = [[*(before if old is None else joined[old]), new] for old, new in pairs]
        shown = [shown[old] if old is not None else groups[variant][new] for old, new in pairs]  # type: ignore[index]
    return [Slot(tuple(places)) for places in joined]


def _aligned(one: Sequence[Any], other: Sequence[Any]) -> list[tuple[int | None, int | None]]:
    """Pairs of arrays that can share a place, in order; best where shapes are equal too."""
    rows, columns = len(one) + 1, len(other) + 1
    best = np.zeros((rows, columns))
    for i in range(1, rows):
        for j in range(1, columns):
            together = best[i - 1, j - 1] + _likeness(one[i - 1], other[j - 1])
            best[i, j] = max(together, best[i - 1, j], best[i, j - 1])
    pairs: list[tuple[int | None, int | None]] = []
    i, j = len(one), len(other)
    while i or j:
        if i and j and best[i, j] == best[i - 1, j - 1] + _likeness(one[i - 1], other[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and best[i, j] == best[i - 1, j]:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def _likeness(one: Any, other: Any) -> float:
    if one.dtype != other.dtype or len(one.shape) != len(other.shape):
        return -np.inf
    return _SAME_SHAPE if one.shape == other.shape else _SAME_RANK


class Place(Protocol):
    """How the states of one model stand in those of its family."""

    def put(self, state: State) -> State:
        """The state of this model as one of the family."""
        ...

    def take(self, state: State) -> State:
        """The state of this model from one of the family."""
        ...

    def optimizer_place(self, index: int) -> int:
        """Where the family has this model's optimizer variable of that number."""
        ...

    def own_number(self, address: Address) -> int | None:
        """Which of its group the array is in this model's own state; None where it has it not."""
        ...

    def has_room_for(self, weights: Sequence[Any]) -> bool:
        """Whether the family has room for a model of its own form with weights of these shapes."""
        ...

    @property
    def bytes_to_predict(self) -> int:
        """What the values of a model take in the family, without an optimizer; 0 if not known."""
        ...


class AsItIs:
    """A model that has a program of its own."""

    def put(self, state: State) -> State:
        return state

    def take(self, state: State) -> State:
        return state

    def optimizer_place(self, index: int) -> int:
        return index

    def own_number(self, address: Address) -> int | None:
        return address[1]

    def has_room_for(self, weights: Sequence[Any]) -> bool:
        return False

    @property
    def bytes_to_predict(self) -> int:
        return 0


AS_IT_IS = AsItIs()


@dataclass(frozen=True, eq=False)
class InFamily:
    """A model among others.

    ``where`` are the numbers of its arrays in each group of a state, ``room`` the shapes and types
    of all arrays of the family, and ``numbers`` what the program is told of this model.
    """

    where: tuple[tuple[int, ...], ...]  # trainable, non-trainable, optimizer
    own: tuple[tuple[tuple[int, ...], ...], ...]  # shapes
    room: tuple[tuple[tuple[tuple[int, ...], Any], ...], ...]
    numbers: tuple[np.ndarray, ...]

    def put(self, state: State) -> State:
        trainable, non_trainable, optimizer = map(self._put, range(3), state[:3])
        return State(trainable, non_trainable, optimizer, state.metrics, self.numbers)

    def take(self, state: State) -> State:
        trainable, non_trainable, optimizer = map(self._take, range(3), state[:3])
        return State(trainable, non_trainable, optimizer, state.metrics)

    def optimizer_place(self, index: int) -> int:
        return self.where[2][index]

    def own_number(self, address: Address) -> int | None:
        name, number = address
        places = self.where[GROUPS.index(name)]
        return places.index(number) if number in places else None

    def has_room_for(self, weights: Sequence[Any]) -> bool:
        shapes = [shape for shape, _ in self.room[0]]
        if [len(shape) for shape in shapes] != [np.ndim(weight) for weight in weights]:
            return False
        pairs = zip(shapes, map(np.shape, weights), strict=True)
        return all(a <= b for room, own in pairs for a, b in zip(own, room, strict=True))

    @property
    def bytes_to_predict(self) -> int:
        trainable, non_trainable, _ = self.room
        return sum(prod(shape) * dtype.itemsize for shape, dtype in (*trainable, *non_trainable))

    def _put(self, group: int, values: Sequence[Any]) -> list[Any]:
        by_place = dict(zip(self.where[group], values, strict=True))
        return [
            _with_room(by_place.get(number), shape, dtype)
            for number, (shape, dtype) in enumerate(self.room[group])
        ]

    def _take(self, group: int, values: Sequence[Any]) -> list[Any]:
        return [
            np.asarray(values[number])[tuple(slice(0, size) for size in shape)]
            for number, shape in zip(self.where[group], self.own[group], strict=True)
        ]


def _with_room(value: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    if value is None:
        return np.zeros(shape, dtype)
    if np.shape(value) == shape:
        return value
    roomy = np.zeros(shape, dtype)
    roomy[tuple(slice(0, size) for size in np.shape(value))] = np.asarray(value)
    return roomy
