"""How a scalar or a size in a traced step comes from the numbers and sizes of its model.

An explanation is a function that gives, for each of several traced steps, just what stands in it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

Numbers = tuple[float, ...]
Sizes = tuple[int, ...]


class Measures(NamedTuple):
    """What tells apart models of one form, and the batches that they are traced on.

    The last of ``sizes`` is the number of rows of a batch.
    """

    numbers: Numbers
    sizes: Sizes


# What Keras makes of a number in Python, in double precision.
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
_Ways = tuple[Callable[[float], float], Callable[[Any], Any]]
# Of a count: as it is; divided by, in double precision or as an array.
_OF_A_COUNT: tuple[_Ways, ...] = (
    (_IN_PYTHON[0], _AS_ARRAY[0]),
    (_IN_PYTHON[3], _AS_ARRAY[0]),
    (_IN_PYTHON[0], _AS_ARRAY[2]),
)
_LESS = (0, 1)


class Count(NamedTuple):
    """A size, or the product of two, so many times, less one at most."""

    times: int
    factors: tuple[int, ...]  # which sizes
    less: int

    def of(self, sizes: Sizes) -> int:
        return self.times * math.prod(sizes[n] for n in self.factors) - self.less


def counts(column: Sequence[int], sizes: Sequence[Sizes]) -> list[Count]:
    """All that explain ``column``, which varies, by the sizes of each step."""
    return [
        count
        for factors in _products(sizes)
        for less in _LESS
        if (count := _count(column[0] + less, factors, less, sizes[0])) is not None
        and all(count.of(own) == size for own, size in zip(sizes, column, strict=True))
    ]


def _count(value: int, factors: tuple[int, ...], less: int, sizes: Sizes) -> Count | None:
    product = math.prod(sizes[n] for n in factors)
    times, rest = divmod(value, product)
    return Count(times, factors, less) if times > 0 and rest == 0 else None


def _products(sizes: Sequence[Sizes]) -> Iterator[tuple[int, ...]]:
    """Sizes that vary, each of those that always go together once, and products of two."""
    first: dict[tuple[int, ...], int] = {}
    for n, column in enumerate(zip(*sizes, strict=True)):
        if len(set(column)) > 1:
            first.setdefault(column, n)
    for n in first.values():
        yield (n,)
    yield from itertools.combinations_with_replacement(first.values(), 2)


class OfNumber(NamedTuple):
    """A scalar that is made of a number."""

    number: int
    ways: _Ways

    def of(self, measures: Measures, like: Any) -> Any:
        return _made(measures.numbers[self.number], self.ways, like)


class OfCount(NamedTuple):
    """A scalar that is made of a count."""

    size: Count
    ways: _Ways

    def of(self, measures: Measures, like: Any) -> Any:
        return _made(self.size.of(measures.sizes), self.ways, like)


Explanation = OfNumber | OfCount


def explain(values: Sequence[Any], all_measures: Sequence[Measures]) -> list[Explanation]:
    """All explanations of a scalar, which varies, by what belongs to each step."""
    columns = zip(*(measures.numbers for measures in all_measures), strict=True)
    possible: list[Explanation] = [
        OfNumber(number, ways)
        for number, column in enumerate(columns)
        if len(set(column)) > 1
        for ways in itertools.product(_IN_PYTHON, _AS_ARRAY)
    ]
    possible += _of_counts(values, [measures.sizes for measures in all_measures])
    samples = list(zip(values, all_measures, strict=True))
    return [
        one
        for one in possible
        if all(raw(one.of(measures, value)) == raw(value) for value, measures in samples)
    ]


def _of_counts(values: Sequence[Any], sizes: Sequence[Sizes]) -> Iterator[OfCount]:
    for ways in _OF_A_COUNT:
        whole = [_whole(value, ways is not _OF_A_COUNT[0]) for value in values]
        if None not in whole and len(set(whole)) > 1:
            for count in counts(whole, sizes):  # type: ignore[arg-type]
                yield OfCount(count, ways)


def _whole(value: Any, is_divisor: bool) -> int | None:
    """The whole number that a scalar is, or is one divided by; or each of a few."""
    array = np.asarray(value, float)
    number = float(array.flat[0]) if array.size else math.nan
    if not 0 < number < math.inf or (array != number).any():
        return None
    return round(1 / number if is_divisor else number)


def _made(number: float, ways: _Ways, like: Any) -> Any:
    """What is made of a number, as a scalar of the type of ``like``."""
    in_python, as_array = ways
    array = np.asarray(like)
    try:
        made = in_python(number)
    except (ValueError, ZeroDivisionError):
        made = math.nan
    with np.errstate(all="ignore"):
        result = np.asarray(as_array(np.full(array.shape, made, array.dtype)), array.dtype)
    return float(result) if isinstance(like, float) else result


def raw(value: Any) -> tuple[str, bytes]:
    """Equal for scalars that are equal to the bit."""
    array = np.asarray(value)
    return str(array.dtype), array.tobytes()
