"""How a scalar or a size in a traced step comes from the numbers and sizes of its model.

An explanation is a function that gives, for each of several traced steps, just what stands in it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

_WAYS_KEPT = 4096
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
Kind = Any  # a type of Python, or a type of arrays and their shape
Raw = tuple[Kind, bytes]
_Ways = tuple[Callable[[float], float], Callable[[Any], Any]]
# Of a count: as it is; divided by, in double precision or as an array.
_OF_A_COUNT: tuple[_Ways, ...] = (
    (_IN_PYTHON[0], _AS_ARRAY[0]),
    (_IN_PYTHON[3], _AS_ARRAY[0]),
    (_IN_PYTHON[0], _AS_ARRAY[2]),
)


class Count(NamedTuple):
    """A size, or the product of two, so many times, less one at most."""

    times: int
    factors: tuple[int, ...]  # which sizes
    less: int

    def of(self, sizes: Sizes) -> int:
        return self.times * math.prod(sizes[n] for n in self.factors) - self.less


def counts(column: Sequence[int], sizes: Sequence[Sizes], may_be_less: bool = False) -> list[Count]:
    """All that explain ``column``, which varies, by the sizes of each step.

    ``may_be_less``: also by one less, as in the last place of an axis.
    """
    return [
        count
        for factors in _products(sizes)
        for less in ((0, 1) if may_be_less else (0,))
        if (count := _count(column[0] + less, factors, less, sizes[0])) is not None
        and all(count.of(own) == size for own, size in zip(sizes, column, strict=True))
    ]


def _count(value: int, factors: tuple[int, ...], less: int, sizes: Sizes) -> Count | None:
    product = math.prod(sizes[n] for n in factors)
    times, rest = divmod(value, product)
    return Count(times, factors, less) if times > 0 and rest == 0 else None


def _products(sizes: Sequence[Sizes]) -> Iterator[tuple[int, ...]]:
    """Sizes that vary, each of those that always go together once, and products of two."""
    first = [places[0] for column, places in together(sizes).items() if len(set(column)) > 1]
    for n in first:
        yield (n,)
    yield from itertools.combinations_with_replacement(first, 2)


def together(sizes: Sequence[Sizes]) -> dict[Sizes, list[int]]:
    """The places of sizes that are equal in each step, by what they are in each."""
    places: dict[Sizes, list[int]] = {}
    for n, column in enumerate(zip(*sizes, strict=True)):
        places.setdefault(column, []).append(n)
    return places


def are_independent(sizes: Sequence[Sizes]) -> bool:
    """Whether no product of up to three sizes that vary is the same in all steps."""
    columns = [np.array(column, float) for column in together(sizes) if len(set(column)) > 1]
    return not any(
        np.ptp(np.prod(some, axis=0)) == 0
        for n in (2, 3)
        for some in itertools.combinations(columns, n)
    )


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


class Always(NamedTuple):
    """A scalar that is the same, whatever the measures."""

    value: Any

    def of(self, measures: Measures, like: Any) -> Any:
        return self.value


Explanation = OfNumber | OfCount | Always


def explain(values: Sequence[Any], all_measures: Sequence[Measures]) -> list[Explanation]:
    """All explanations of a scalar, which varies, by what belongs to each step."""
    possible = _of_counts(values, [measures.sizes for measures in all_measures])
    return [*of_numbers(values, all_measures), *_that_hold(possible, values, all_measures)]


def of_numbers(values: Sequence[Any], all_measures: Sequence[Measures]) -> list[Explanation]:
    """Those by numbers that vary, also of a scalar that does not: it may have been rounded so."""
    first = raw(values[0])
    if not jax.dtypes.issubdtype(np.asarray(values[0]).dtype, np.floating):
        return []
    columns = zip(*(measures.numbers for measures in all_measures), strict=True)
    possible = (
        OfNumber(number, ways)
        for number, column in enumerate(columns)
        if len(set(column)) > 1
        for ways in _ways_to(first, column[0])
    )
    return _that_hold(possible, values, all_measures)


def _that_hold(
    possible: Iterable[Explanation], values: Sequence[Any], all_measures: Sequence[Measures]
) -> list[Explanation]:
    samples = list(zip(values, all_measures, strict=True))
    return [
        one
        for one in possible
        if all(raw(one.of(measures, value)) == raw(value) for value, measures in samples)
    ]


@lru_cache(_WAYS_KEPT)
def _ways_to(made: Raw, number: float) -> tuple[_Ways, ...]:
    """The ways in which that scalar can be made of that number."""
    return tuple(_ways_by_scalar(number, made[0]).get(made, ()))


@lru_cache(_WAYS_KEPT)
def _ways_by_scalar(number: float, kind: Kind) -> dict[Raw, list[_Ways]]:
    ways: dict[Raw, list[_Ways]] = {}
    like = 0.0 if kind is float else np.zeros(kind[1], kind[0])
    for both in itertools.product(_IN_PYTHON, _AS_ARRAY):
        ways.setdefault(raw(_made(number, both, like)), []).append(both)
    return ways


def _of_counts(values: Sequence[Any], sizes: Sequence[Sizes]) -> Iterator[OfCount]:
    for ways in _OF_A_COUNT:
        whole = [_whole(value, ways is not _OF_A_COUNT[0]) for value in values]
        if None not in whole and len(set(whole)) > 1:
            for count in counts(whole, sizes, may_be_less=True):  # type: ignore[arg-type]
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


def raw(value: Any) -> Raw:
    """Equal for scalars that are equal to the bit."""
    array = np.asarray(value)
    kind = float if isinstance(value, float) else (array.dtype, array.shape)
    return kind, array.tobytes()
