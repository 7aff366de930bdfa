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
    """Steps by what they do, the form of the model, and the shape of the batch."""

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
        samples = self._of(kind, alike, shapes, n_rows)
        step = samples.of(alike.numbers)
        if step is None:
            step = traced()
            samples.add(alike.numbers, step)
        return step

    def steps(self, kind: str, alike: Alike, rows: RowsLike) -> Steps | None:
        """The steps on rows like these, if all are known."""
        found = [
            None if size is None else self._of(kind, alike, rows.shapes, size).of(alike.numbers)
            for size in rows.sizes
        ]
        known = all(
            (size is None) == (step is None) for size, step in zip(rows.sizes, found, strict=True)
        )
        return Steps(*found) if known else None

    def _of(self, kind: str, alike: Alike, shapes: Hashable, n_rows: int) -> Samples:
        key = (kind, alike.form, alike.settings, shapes, n_rows)
        samples = self._samples.setdefault(key, Samples())
        self._samples.move_to_end(key)
        while len(self._samples) > KEPT:
            self._samples.popitem(last=False)
        return samples
