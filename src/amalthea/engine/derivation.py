"""Steps of models that differ from traced ones in numbers and sizes alone, without tracing them.

A hyperparameter such as a dropout rate stands in a traced step as scalars: the rate, what is left
of one, or the like. One such as the units of a layer stands in it as sizes: of arrays, of what is
cut from them, or as a scalar that divides a sum. Where models of one form (:mod:`.likeness`) were
traced with several rates and units, it is seen which scalars and sizes are which functions of
which hyperparameter (:mod:`.explanations`), and those of others are computed.

Why that is exact: what a form leaves out are numbers that Keras only computes with, and sizes that
it does not look at, so the steps of a form are the same but for scalars and sizes, and this is
checked on those that were traced. What was the same in all of them depends on nothing that was
seen to vary. What varied has to be explained, by a function that gives its very bits in each traced
step. A new number or size must be one that was seen, or one of a hyperparameter that was seen with
three values at least; and all explanations that hold must give the same bits for it. Otherwise the
step is traced.

What else might deceive:

- Numbers that are equal when they are rounded. Three values count where they differ in their first
  digits, and so does what is left of one. A scalar that stays the same while it might be made of a
  number that varies is one more explanation.
- Sizes that are equal in all samples cannot be told apart: they have to be equal in the new model.
- Sizes whose product is the same in all samples hide it. Such samples are not enough.
- Floats of 16 bits round sizes. Steps with such are samples for models of the same sizes only.
- Along axes of size 1 JAX repeats arrays. Steps are only samples for others that have a 1 in the
  same places.
- Losses and metrics may look at the number of rows. The batch must have one that was traced.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .explanations import (
    Always,
    Explanation,
    Measures,
    OfCount,
    Sizes,
    are_independent,
    counts,
    explain,
    of_numbers,
    raw,
    together,
)
from .lifting.flat import ResizedOperations
from .programs import TracedStep
from .recent import keep

ENOUGH_VALUES = 3
_SAMPLES_KEPT = 32
_STEPS_KEPT, _OPERATIONS_KEPT = 128, 8192  # some 100 kB and 1 kB each
_Explained = dict[int, tuple[list[Explanation], Any]]  # and the type of the scalar


class Resized:
    """Steps and operations that were made for other sizes: as many as may be kept for all forms."""

    def __init__(self) -> None:
        self._steps: OrderedDict[Hashable, TracedStep] = OrderedDict()
        self._operations: ResizedOperations = {}

    def clear(self) -> None:
        self._steps.clear()
        self._operations.clear()

    def step(self, key: Hashable, make: Callable[[ResizedOperations], TracedStep]) -> TracedStep:
        step = self._steps.get(key)
        if step is None:
            step = make(self._operations)
        keep(self._steps, key, step, _STEPS_KEPT)
        if len(self._operations) > _OPERATIONS_KEPT:
            self._operations.clear()
        return step


class Samples:
    """Traced steps of one form and one kind of batches, by the measures of their models."""

    def __init__(self, resized: Resized | None = None) -> None:
        self._resized = resized or Resized()
        self._traced: OrderedDict[Measures, TracedStep] = OrderedDict()
        self._alike: dict[Hashable, _AlikeSteps] = {}  # by what they have in common

    def __len__(self) -> int:
        return len(self._traced)

    def add(self, measures: Measures, step: TracedStep) -> TracedStep:
        """Keep a traced step; the same with those scalars marked that are seen to vary."""
        keep(self._traced, measures, step, _SAMPLES_KEPT)
        self._alike.clear()
        same_sizes = [
            other for known, other in self._traced.items() if known.sizes == measures.sizes
        ]
        if len(same_sizes) == 1 or step.form is None:
            return step
        return step.where_vary(_varying([one for one in same_sizes if one.form == step.form]))

    def of(self, measures: Measures) -> TracedStep | None:
        """The step of a model with these measures; None where it has to be traced."""
        traced = self._traced.get(measures)
        if traced is not None:
            return traced
        steps = (samples.step(measures) for samples in self._samples_for(measures.sizes))
        return next((step for step in steps if step is not None), None)

    def _samples_for(self, sizes: Sizes) -> Iterator[_AlikeSteps]:
        """The steps that do the same as one of these sizes: all, and those of just these sizes."""
        n_rows, ones = sizes[-1], _ones(sizes)
        if len(self._traced) < ENOUGH_VALUES and all(one.sizes != sizes for one in self._traced):
            return  # too few to tell, whatever they are
        alike = {one: step for one, step in self._traced.items() if _ones(one.sizes) == ones}
        forms = {step.form for one, step in alike.items() if one.sizes[-1] == n_rows}
        if len(forms) == 1 and None not in forms:
            (form,) = forms
            same = {one: step for one, step in alike.items() if step.form == form}
            yield self._alike_by(("ones", form, ones), same)
            of_these = {one: step for one, step in same.items() if one.sizes == sizes}
            if 0 < len(of_these) < len(same):
                yield self._alike_by(("sizes", form, sizes), of_these)

    def _alike_by(self, key: Hashable, samples: Mapping[Measures, TracedStep]) -> _AlikeSteps:
        if key not in self._alike:
            self._alike[key] = _AlikeSteps(samples, self._resized)
        return self._alike[key]


class _AlikeSteps:
    """Samples that differ in scalars and sizes alone, and what these come from."""

    def __init__(self, samples: Mapping[Measures, TracedStep], resized: Resized) -> None:
        self._samples, self._resized = samples, resized
        self._numbers = [one.numbers for one in samples]
        self._sizes = [one.sizes for one in samples]
        self._halves = any(step.work.halves for step in samples.values())

    def step(self, measures: Measures) -> TracedStep | None:
        if not self._tell(measures):
            return None
        try:
            base = self._with_sizes(measures)
            new = self._new(self._of_numbers, measures)
            return base.with_numbers(new) if new else base
        except _Unexplained:
            return None

    def _tell(self, measures: Measures) -> bool:
        """Whether there are enough of them for a step with these measures."""
        columns = zip(zip(*self._numbers, strict=True), measures.numbers, strict=True)
        if not all(new in seen or self._are_enough(seen) for seen, new in columns):
            return False
        if all(sizes == measures.sizes for sizes in self._sizes):
            return True
        if self._halves or len(self._samples) < ENOUGH_VALUES or not self._are_independent:
            return False
        return all(
            len({measures.sizes[n] for n in places}) == 1
            and (measures.sizes[places[0]] in seen or len(set(seen)) >= ENOUGH_VALUES)
            for seen, places in self._together.items()
        )

    def _are_enough(self, numbers: Sequence[float]) -> bool:
        """Whether they stay different when they are rounded, and what is left of one too."""
        digits = 1 if self._halves else 5
        return all(
            len({f"{number:.{digits}e}" for number in some}) >= ENOUGH_VALUES
            for some in (numbers, [1.0 - number for number in numbers])
        )

    @cached_property
    def _together(self) -> Mapping[Sizes, Sequence[int]]:
        return together(self._sizes)

    @cached_property
    def _are_independent(self) -> bool:
        return are_independent(self._sizes)

    def _with_sizes(self, measures: Measures) -> TracedStep:
        """A step of those sizes, with any numbers."""
        sizes = measures.sizes

        def make(known: ResizedOperations) -> TracedStep:
            in_step = self._in_steps.of(sizes)
            same = (step for one, step in self._samples.items() if one.sizes == sizes)
            some = next(iter(self._samples.values()))
            new = self._new(self._of_counts, measures)
            return next(same, None) or some.with_sizes(in_step, sizes[-1], new, known)

        return self._resized.step((self, sizes), make)

    def _new(self, explained: _Explained, measures: Measures) -> dict[int, Any]:
        """The scalars of a step with these measures, by their places."""
        new = {}
        for place, (explanations, like) in explained.items():
            possible = {raw(v): v for v in (one.of(measures, like) for one in explanations)}
            if len(possible) != 1:
                raise _Unexplained
            (new[place],) = possible.values()
        return new

    @cached_property
    def _explained(self) -> _Explained:
        """By the place of a scalar that may vary, what explains it."""
        measures, explained = list(self._samples), {}
        columns = zip(*map(_scalars, self._samples.values()), strict=True)
        for place, column in enumerate(columns):
            if len(set(map(raw, column))) > 1:
                explained[place] = explain(column, measures), column[0]
            elif found := of_numbers(column, measures):
                explained[place] = [*found, Always(column[0])], column[0]
        return explained

    @cached_property
    def _of_numbers(self) -> _Explained:
        """Of scalars that may come from a number, or from nothing that is known."""
        counts = self._of_counts
        return {place: how for place, how in self._explained.items() if place not in counts}

    @cached_property
    def _of_counts(self) -> _Explained:
        """Of those that come from sizes alone."""
        return {
            place: (explanations, like)
            for place, (explanations, like) in self._explained.items()
            if explanations and all(isinstance(one, OfCount) for one in explanations)
        }

    @cached_property
    def _in_steps(self) -> _SizesOfSteps:
        sizes = [step.flat.sizes for step in self._samples.values() if step.flat is not None]
        return _SizesOfSteps(sizes, self._sizes)


class _SizesOfSteps:
    """The sizes in traced steps, and those of another step."""

    def __init__(self, in_steps: Sequence[Sizes], of_models: Sequence[Sizes]) -> None:
        table = np.array(in_steps)
        self._first = in_steps[0]
        self._varying = np.flatnonzero((table != table[0]).any(axis=0))
        columns, which = np.unique(table[:, self._varying], axis=1, return_inverse=True)
        self._which = which.ravel()
        self._counts = [counts(column.tolist(), of_models) for column in columns.T]

    def of(self, sizes: Sizes) -> list[int]:
        """Of the step of a model with these sizes."""
        possible = [{count.of(sizes) for count in some} for some in self._counts]
        if any(len(found) != 1 for found in possible):
            raise _Unexplained
        new = [found.pop() for found in possible]
        all_sizes = list(self._first)
        for place, column in zip(self._varying, self._which, strict=True):
            all_sizes[place] = new[column]
        return all_sizes


class _Unexplained(Exception):
    """Nothing explains what varies, or several explanations differ."""


def _ones(sizes: Sizes) -> tuple[int, ...]:
    """Where there are sizes of 1, along which arrays are repeated, or of 0."""
    return tuple(n for n, size in enumerate(sizes) if size < 2)


def _varying(steps: Sequence[TracedStep]) -> dict[int, tuple[Any, ...]]:
    """By its place what a scalar is in each step, where that is not always the same."""
    columns = zip(*map(_scalars, steps), strict=True)
    return {place: column for place, column in enumerate(columns) if len(set(map(raw, column))) > 1}


def _scalars(step: TracedStep) -> list[Any]:
    assert step.flat is not None
    return [number.value for number in step.flat.numbers]
