"""The steps that were traced, and those that follow from them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from .alike import Alike, Forms, RowsLike
from .batching import Steps
from .derivation import Resized, Samples
from .explanations import Measures
from .programs import TracedStep
from .stored_steps import StoredSteps

KEPT = 1024


class KnownSteps:
    """Steps by what they do, the form of the model, and the shapes of rows.

    The least recently used go when more than ``KEPT`` were traced. What another process has traced
    is ``stored``.
    """

    def __init__(self, stored: StoredSteps, forms: Forms) -> None:
        self._stored, self._forms = stored, forms
        self._samples: OrderedDict[Hashable, Samples] = OrderedDict()
        self._resized = Resized()

    def clear(self) -> None:
        self._samples.clear()
        self._resized.clear()

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
        step = self._found(kind, alike, shapes, n_rows)
        if step is None:
            step = traced()
            told = self._told(kind, alike, shapes, n_rows)
            if told is not None:
                self._stored.keep(told, step)
            step = self._add(kind, alike, shapes, n_rows, step)
        return step

    def steps(self, kind: str, alike: Alike, rows: RowsLike) -> Steps | None:
        """The steps on rows like these, if all are known."""
        found = [
            None if size is None else self._found(kind, alike, rows.shapes, size)
            for size in rows.sizes
        ]
        known = all(
            (size is None) == (step is None) for size, step in zip(rows.sizes, found, strict=True)
        )
        return Steps(*found) if known else None

    def _found(self, kind: str, alike: Alike, shapes: Hashable, n_rows: int) -> TracedStep | None:
        samples = self._samples.get((kind, alike.form, alike.settings, shapes))
        step = None if samples is None else samples.of(_measures(alike, n_rows))
        if step is not None:
            return step
        told = self._told(kind, alike, shapes, n_rows)
        step = None if told is None else self._stored.load(told)
        return None if step is None else self._add(kind, alike, shapes, n_rows, step)

    def _add(
        self, kind: str, alike: Alike, shapes: Hashable, n_rows: int, step: TracedStep
    ) -> TracedStep:
        key = kind, alike.form, alike.settings, shapes
        samples = self._samples.setdefault(key, Samples(self._resized))
        self._samples.move_to_end(key)
        step = samples.add(_measures(alike, n_rows), step)
        n_traced = sum(map(len, self._samples.values()))
        while n_traced > KEPT:
            _, forgotten = self._samples.popitem(last=False)
            n_traced -= len(forgotten)
        return step

    def _told(
        self, kind: str, alike: Alike, shapes: Hashable, n_rows: int
    ) -> tuple[Hashable, ...] | None:
        """What tells the step in other processes, where anything is stored."""
        form = self._forms.told(alike.form) if self._stored.are_kept else None
        if form is None:
            return None
        return kind, form, alike.numbers, alike.sizes, alike.settings, shapes, n_rows


def _measures(alike: Alike, n_rows: int) -> Measures:
    return Measures(alike.numbers, (*alike.sizes, n_rows))
