"""The room that programs of several epochs have: lanes, epochs, rows and batches.

A program is compiled for arrays of given shapes, but serves whatever needs no more room.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

from .effort import Effort
from .programs import PROGRAMS_KEPT
from .steps import Address


@dataclass(frozen=True)
class RunShape:
    """The room of one program, and how it was compiled."""

    lanes: int
    most: int  # epochs in one call
    n_distinct: int  # sets of rows
    n_rows: int
    n_batches: int
    one_order: bool
    effort: Effort
    stacked: bool = True  # else fits take turns in it
    common: frozenset[Address] = frozenset()  # arrays of the state that all have in common

    def with_rows(self, n_rows: int, n_batches: int) -> RunShape:
        return replace(self, n_rows=n_rows, n_batches=n_batches)

    def has_room_for(self, other: RunShape) -> bool:
        alike = ("lanes", "one_order", "effort", "common")
        return (
            all(getattr(self, name) == getattr(other, name) for name in alike)
            and self.most <= other.most
            and self.n_distinct >= other.n_distinct
            and self.n_rows >= other.n_rows
            and self.n_batches >= other.n_batches
        )


class RunShapes:
    """The shapes that were compiled, by the key of their structure; the oldest go."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, list[RunShape]] = OrderedDict()
        self._lock = Lock()

    def clear(self) -> None:
        self._known.clear()

    def add(self, key: str, shape: RunShape) -> None:
        """There is a program of this shape for the structure of that key."""
        with self._lock:
            known = self._known.setdefault(key, [])
            if shape not in known:
                known.append(shape)
            self._known.move_to_end(key)
            while len(self._known) > PROGRAMS_KEPT:
                self._known.popitem(last=False)

    def of(self, key: str, stacked: bool = True) -> list[RunShape]:
        return [shape for shape in self._known.get(key, ()) if shape.stacked is stacked]

    def with_room_for(self, key: str, least: RunShape) -> RunShape | None:
        known = self.of(key, least.stacked)
        return next((shape for shape in known if shape.has_room_for(least)), None)
