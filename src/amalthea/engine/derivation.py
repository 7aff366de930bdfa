"""Steps of models that differ from traced ones in a few numbers alone, without tracing them.

A hyperparameter such as a dropout rate stands in a traced step as scalars: the rate, what is left
of one, or the like. Where models of one form (:mod:`.likeness`) were traced with several rates, it
is seen which scalars are which functions of which hyperparameter, and those of another rate are
computed.

Why that is exact: what a form leaves out are numbers that Keras only computes with, so the steps
of a form are the same but for scalars, and this is checked on those that were traced. A scalar that
was the same in all of them depends on no number that was seen to vary. One that varied has to be
explained: by a function of one number that gives its very bits in each traced step. A new number
must be one that was seen, or one of a hyperparameter that was seen with three values at least; and
all explanations that hold must give the same bits for it. Otherwise the step is traced.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .programs import TracedStep

Numbers = tuple[float, ...]
ENOUGH_VALUES = 3
_SAMPLES_KEPT = 16

# What Keras makes of such a number in Python, in double precision.
_IN_PYTHON: tuple[Callable[[float], float], ...] = (
    lambda value: value,
    lambda value: -value,
    lambda value: 1.0 - value,
    lambda value: 1.0 / value,
    lambda value: 1.0 / (1.0 - value),
    lambda value: 2.0 * value,
    lambda value: value * value,
    lambda value: math.sqrt(value),
    lambda value: math.sqrt(value / (1.0 - value)),
)
# And what is made of it as an array.
_AS_ARRAY: tuple[Callable[[Any], Any], ...] = (
    lambda value: value,
    lambda value: 1 - value,
    lambda value: 1 / value,
    lambda value: 1 / (1 - value),
)
_Explanation = tuple[int, Callable[[float], float], Callable[[Any], Any]]


class Samples:
    """Traced steps of one form and one shape of batches, by the numbers of their models."""

    def __init__(self) -> None:
        self._traced: OrderedDict[Numbers, TracedStep] = OrderedDict()
        self._explained: dict[int, list[_Explanation]] | None = None

    def __len__(self) -> int:
        return len(self._traced)

    def add(self, numbers: Numbers, step: TracedStep) -> TracedStep:
        """Keep a traced step; the same with those scalars marked that are seen to vary."""
        self._traced[numbers] = step
        while len(self._traced) > _SAMPLES_KEPT:
            self._traced.popitem(last=False)
        self._explained = None
        if len(self._traced) == 1 or not self._differ_in_scalars():
            return step
        return step.where_vary(self._varying())

    def of(self, numbers: Numbers) -> TracedStep | None:
        """The step of a model with these numbers; None where it has to be traced."""
        traced = self._traced.get(numbers)
        if traced is not None or not self._are_seen(numbers) or not self._differ_in_scalars():
            return traced
        if self._explained is None:
            self._explained = self._explain_all()
        step = next(iter(self._traced.values()))
        scalars, new = _scalars(step), {}
        for place, explanations in self._explained.items():
            possible = {
                _raw(value): value
                for value in (_given(one, numbers, scalars[place]) for one in explanations)
            }
            if len(possible) != 1:
                return None
            (new[place],) = possible.values()
        return step.with_numbers(new)

    def _are_seen(self, numbers: Numbers) -> bool:
        """Whether each was met, or others in its place with enough values."""
        return bool(self._traced) and all(
            number in values or len(set(values)) >= ENOUGH_VALUES
            for values, number in zip(zip(*self._traced, strict=True), numbers, strict=True)
        )

    def _differ_in_scalars(self) -> bool:
        steps = list(self._traced.values())
        flats = [step.flat for step in steps]
        if None in flats or any(step.work.calls_host for step in steps):
            return False
        return len({flat.skeleton for flat in flats if flat}) == 1

    def _explain_all(self) -> dict[int, list[_Explanation]]:
        """How each scalar that varies comes from the numbers."""
        return {place: self._explain(column) for place, column in self._varying().items()}

    def _varying(self) -> dict[int, tuple[Any, ...]]:
        """By its place what a scalar is in each step, where that is not always the same."""
        columns = zip(*map(_scalars, self._traced.values()), strict=True)
        return {
            place: column for place, column in enumerate(columns) if len(set(map(_raw, column))) > 1
        }

    def _explain(self, values: Sequence[Any]) -> list[_Explanation]:
        samples = list(zip(values, self._traced, strict=True))
        every = itertools.product(range(len(samples[0][1])), _IN_PYTHON, _AS_ARRAY)
        return [
            explanation
            for explanation in every
            if all(
                _raw(_given(explanation, numbers, value)) == _raw(value)
                for value, numbers in samples
            )
        ]


def _scalars(step: TracedStep) -> list[Any]:
    assert step.flat is not None
    return [number.value for number in step.flat.numbers]


def _given(explanation: _Explanation, numbers: Numbers, like: Any) -> Any:
    """What a function makes of a number, as a scalar of the type of ``like``."""
    number, in_python, as_array = explanation
    array = np.asarray(like)
    try:
        made = in_python(numbers[number])
    except (ValueError, ZeroDivisionError):
        made = math.nan
    with np.errstate(all="ignore"):
        result = np.asarray(as_array(np.full(array.shape, made, array.dtype)), array.dtype)
    return float(result) if isinstance(like, float) else result


def _raw(value: Any) -> tuple[str, bytes]:
    array = np.asarray(value)
    return str(array.dtype), array.tobytes()
