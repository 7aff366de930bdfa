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
step. A new number must be one that was seen, or one of a hyperparameter that was seen with three
values at least, and a new size with two, since far fewer functions explain one; and all
explanations that hold must give the same bits for it. Otherwise the step is traced.

Two things are looked at more closely. Along axes of size 1 JAX repeats arrays, so steps are only
samples for others that have a 1 in the same places. And losses and metrics may look at the number
of rows, so the batch must have one that was traced.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .explanations import Explanation, Measures, OfCount, Sizes, counts, explain, raw
from .lifting.flat import ResizedOperations
from .programs import TracedStep
from .recent import keep

ENOUGH_VALUES, ENOUGH_SIZES = 3, 2  # of a number, and of a size
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
        self._alike: dict[Hashable, _Alike] = {}  # by what they have in common

    def __len__(self) -> int:
        return len(self._traced)

    def add(self, measures: Measures, step: TracedStep) -> TracedStep:
        """Keep a traced step; the same with those scalars marked that are seen to vary."""
        keep(self._traced, measures, step, _SAMPLES_KEPT)
        self._alike.clear()
        same_sizes = [
            other
            for known, other in self._traced.items()
            if known.sizes == measures.sizes and other.form == step.form
        ]
        if step.form is None or len(same_sizes) == 1:
            return step
        return step.where_vary(_varying(same_sizes))

    def of(self, measures: Measures) -> TracedStep | None:
        """The step of a model with these measures; None where it has to be traced."""
        traced = self._traced.get(measures)
        if traced is not None:
            return traced
        steps = (samples.step(measures) for samples in self._samples_for(measures.sizes))
        return next((step for step in steps if step is not None), None)

    def _samples_for(self, sizes: Sizes) -> Iterator[_Alike]:
        """The steps that do the same as one of these sizes: all, and those of just these sizes."""
        n_rows, ones = sizes[-1], _ones(sizes)
        alike = {one: step for one, step in self._traced.items() if _ones(one.sizes) == ones}
        forms = {step.form for one, step in alike.items() if one.sizes[-1] == n_rows}
        if len(forms) == 1 and None not in forms:
            (form,) = forms
            same = {one: step for one, step in alike.items() if step.form == form}
            yield self._alike_by(("ones", form, ones), same)
            of_these = {one: step for one, step in same.items() if one.sizes == sizes}
            if 0 < len(of_these) < len(same):
                yield self._alike_by(("sizes", form, sizes), of_these)

    def _alike_by(self, key: Hashable, samples: Mapping[Measures, TracedStep]) -> _Alike:
        if key not in self._alike:
            self._alike[key] = _Alike(samples, self._resized)
        return self._alike[key]


class _Alike:
    """Samples that differ in scalars and sizes alone, and what these come from."""

    def __init__(self, samples: Mapping[Measures, TracedStep], resized: Resized) -> None:
        self._samples, self._resized = samples, resized

    def step(self, measures: Measures) -> TracedStep | None:
        if not self._are_seen(measures):
            return None
        try:
            base = self._with_sizes(measures)
            new = self._new(self._of_numbers, measures)
            return base.with_numbers(new) if new else base
        except _Unexplained:
            return None

    def _are_seen(self, measures: Measures) -> bool:
        """Whether each number and size was met, or others in its place with enough values."""

        def are_seen(told: Iterable[Sequence[float]], new: Sequence[float], enough: int) -> bool:
            return all(
                one in values or len(set(values)) >= enough
                for values, one in zip(zip(*told, strict=True), new, strict=True)
            )

        numbers = (one.numbers for one in self._samples)
        sizes = (one.sizes for one in self._samples)
        return are_seen(numbers, measures.numbers, ENOUGH_VALUES) and are_seen(
            sizes, measures.sizes, ENOUGH_SIZES
        )

    def _with_sizes(self, measures: Measures) -> TracedStep:
        """A step of those sizes, with any numbers."""
        sizes = measures.sizes

        def make(known: ResizedOperations) -> TracedStep:
            in_step = self._sizes.of(sizes)
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
        """By the place of a scalar that varies, what explains it."""
        steps, measures = list(self._samples.values()), list(self._samples)
        return {
            place: (explain(column, measures), column[0])
            for place, column in _varying(steps).items()
        }

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
    def _sizes(self) -> _SizesOfSteps:
        sizes = [step.flat.sizes for step in self._samples.values() if step.flat is not None]
        return _SizesOfSteps(sizes, [one.sizes for one in self._samples])


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
