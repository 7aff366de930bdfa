"""The steps that were traced, and those that follow from them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from .alike import Alike, RowsLike
from .batching import Steps
from .derivation import Samples
from .programs import TracedStep

KEPT = 1024


class KnownSteps:
    """Steps by what they do, the form of the model, and the shape of the batch.

    The least recently used go when more than ``KEPT`` were traced.
    """

    def __init__(self) -> None:
        self._samples: OrderedDict[Hashable, Samples] = OrderedDict()

    def clear(self) -> None:
        self._samples.clear()

    def step(
        self,
        kind: str,
        alike: Alike | None,
        shapes: Hashable,
        n_rows: int,
        traced: Callable[[], TracedStep],
    ) -> TracedStep:
        """A step that is known, or is now; of a model that is like no other it is traced."""
        if alike is None:
            return traced()
        key = _key(kind, alike, shapes, n_rows)
        samples = self._samples.setdefault(key, Samples())
        self._samples.move_to_end(key)
        step = samples.of(alike.numbers)
        if step is None:
            step = samples.add(alike.numbers, traced())
            self._forget_some()
        return step

    def steps(self, kind: str, alike: Alike, rows: RowsLike) -> Steps | None:
        """The steps on rows like these, if all are known."""
        found = [
            None if size is None else self._found(_key(kind, alike, rows.shapes, size), alike)
            for size in rows.sizes
        ]
        known = all(
            (size is None) == (step is None) for size, step in zip(rows.sizes, found, strict=True)
        )
        return Steps(*found) if known else None

    def _found(self, key: Hashable, alike: Alike) -> TracedStep | None:
        samples = self._samples.get(key)
        return None if samples is None else samples.of(alike.numbers)

    def _forget_some(self) -> None:
        n_traced = sum(map(len, self._samples.values()))
        while n_traced > KEPT:
            _, forgotten = self._samples.popitem(last=False)
            n_traced -= len(forgotten)


def _key(kind: str, alike: Alike, shapes: Hashable, n_rows: int) -> Hashable:
    return kind, alike.form, alike.settings, shapes, n_rows
