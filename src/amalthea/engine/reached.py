"""How far fits have come, so that one that wants more epochs goes on from there.

A search by halving trains its best candidates again with more epochs, and a search is repeated with
more. Such a fit begins as an earlier one did, and goes the same way (:mod:`.trajectories`): what
the earlier one reached is what it would come to.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .steps import State

MOST_BYTES = 2**25
_BYTES_OF_AN_ARRAY = 128  # beside its values; of a number in a history too


@dataclass(frozen=True)
class Point:
    """Where a fit was after some epochs: its state, and one value per epoch of each quantity."""

    epoch: int
    state: State
    history: dict[str, list[Any]]
    epochs: list[int]

    @property
    def n_bytes(self) -> int:
        arrays = [array for group in self.state for array in group]
        n_values = sum(map(len, self.history.values())) + len(self.epochs)
        n_bytes = sum(array.nbytes for array in arrays)
        return n_bytes + _BYTES_OF_AN_ARRAY * (len(arrays) + n_values)


def point(epoch: int, state: State, history: dict[str, list[Any]], epochs: list[int]) -> Point:
    """A point that shares nothing with what it is made from."""
    own = State(*([np.array(value) for value in group] for group in state))
    own = own._replace(metrics=[], settings=())
    return Point(epoch, own, {name: list(values) for name, values in history.items()}, [*epochs])


class Reached:
    """The last points of fits by the way that they went; the least recently used go."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes, self._n_bytes = most_bytes, 0
        self._points: OrderedDict[tuple[Hashable, int], Point] = OrderedDict()
        self._epochs: dict[Hashable, set[int]] = {}
        self._lock = threading.Lock()

    def clear(self) -> None:
        with self._lock:
            self._points.clear()
            self._epochs.clear()
            self._n_bytes = 0

    def before(self, way: Hashable, epochs: int) -> Point | None:
        """The farthest point on that way before so many epochs."""
        with self._lock:
            known = [epoch for epoch in self._epochs.get(way, ()) if epoch < epochs]
            if not known:
                return None
            self._points.move_to_end((way, max(known)))
            return self._points[way, max(known)]

    def add(self, way: Hashable, point: Point) -> None:
        with self._lock:
            if (way, point.epoch) in self._points:
                self._points.move_to_end((way, point.epoch))
                return
            self._points[way, point.epoch] = point
            self._epochs.setdefault(way, set()).add(point.epoch)
            self._n_bytes += point.n_bytes
            while self._n_bytes > self._most_bytes:
                self._forget(*self._points.popitem(last=False))

    def _forget(self, key: tuple[Hashable, int], point: Point) -> None:
        way, epoch = key
        self._n_bytes -= point.n_bytes
        self._epochs[way].discard(epoch)
        if not self._epochs[way]:
            del self._epochs[way]
