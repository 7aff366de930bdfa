"""Equations whose results are there before anything is computed.

Keras and JAX leave many of them in a step: copies, sums over one element, divisors that are counted
in arrays. Each costs a small program as much to compile and to call as any other equation. Left out
is only what changes no bit of what the equation gives:

- what hands on its input as it is (a sum over one element would make 0.0 of -0.0, if the compiler
  did not leave it out itself);
- what is computed of scalars that are known for each variant, by operations that IEEE 754 or whole
  numbers leave no choice in. Where variants differ, the result is a number that the program is
  given, as what it was computed of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .graph import Value
from .seen import Seen, is_ragged

_HANDED_ON = frozenset({"copy", "copy_p", "stop_gradient"})
_REDUCTIONS = frozenset(
    {"reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_or", "reduce_and"}
)
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
}
_COMPARED: dict[str, Callable[..., Any]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_EXACT = 2**24  # up to there floats are all whole numbers


def without_computing(seen: Seen) -> list[Value] | None:
    """The result of an equation, where it is known or stands in an input; None elsewhere."""
    if len(seen.gives) != 1:
        return None
    if _hands_on(seen):
        return [seen.inputs[0]]
    value = _chosen(seen) if seen.name == "select_n" else None
    value = _computed(seen) if value is None else value
    if value is None and (_over_one_element(seen) or _only_reshaped(seen)):
        value = seen.graph.reshaped(seen.inputs[0], seen.room())
    return None if value is None else [value]


def _hands_on(seen: Seen) -> bool:
    takes, gives = seen.takes[:1], list(seen.gives)
    if list(takes) != gives:
        return False
    if seen.name in _HANDED_ON:
        return True
    if seen.name in _REDUCTIONS:
        return all(axes == () for axes in seen.every("axes"))
    if seen.name == "convert_element_type":
        return bool(seen.inputs[0].dtype == seen.equations[0].gives[0].dtype)
    return seen.name == "broadcast_in_dim" and len(seen.inputs) == 1


def _only_reshaped(seen: Seen) -> bool:
    """Whether all that it does along axes of several sizes is to add or leave out ones."""
    if seen.name != "reshape" or len(seen.inputs) > 1 or set(seen.every("dimensions")) != {None}:
        return False
    takes, gives = ([s for s in a if set(s) != {1}] for a in (seen.takes[0], seen.gives[0]))
    return takes == gives or not any(map(is_ragged, (*takes, *gives)))


def _over_one_element(seen: Seen) -> bool:
    if seen.name not in _REDUCTIONS:
        return False
    axes = set(seen.every("axes"))
    return len(axes) == 1 and all(set(seen.takes[0][axis]) == {1} for axis in next(iter(axes)))


def _chosen(seen: Seen) -> Value | None:
    """The case that all variants choose."""
    which, *cases = seen.inputs
    known = _known(seen, which)
    if known is None or any(case.shape != seen.room() for case in cases):
        return None
    chosen = {int(value) for value in known if np.ndim(value) == 0}
    return cases[chosen.pop()] if len(chosen) == 1 else None


def _computed(seen: Seen) -> Value | None:
    dtype = seen.equations[0].gives[0].dtype
    if any(seen.gives[0]) or not isinstance(dtype, np.dtype):  # an array, or a key
        return None
    inputs = [_known(seen, value) for value in seen.inputs]
    if not inputs or any(one is None for one in inputs):
        return None
    results = []
    for given in zip(*(one for one in inputs if one is not None), strict=True):
        result = _result(seen, given, dtype)
        if result is None:
            return None
        results.append(result)
    return _value(seen, results, dtype)


def _known(seen: Seen, value: Value) -> list[np.ndarray] | None:
    """What an input is for each variant that takes part."""
    found = [seen.graph.known(value, variant) for variant in seen.variants]
    return None if any(one is None for one in found) else [one for one in found if one is not None]


def _result(seen: Seen, given: Sequence[np.ndarray], dtype: np.dtype) -> np.ndarray | None:
    """None where that is not for us to compute."""
    name = seen.name
    with np.errstate(all="ignore"):
        if name in _COMPARED:
            made = _COMPARED[name](*given)
        elif name in _ARITHMETIC and _is_float(dtype):
            made = _ARITHMETIC[name](*given)
        elif name == "select_n":
            made = given[1 + int(given[0])]
        elif name == "convert_element_type" and _is_float(dtype) and _is_exact(given[0]):
            made = given[0].astype(dtype)
        elif name == "reduce_prod" and dtype == np.int32 and given[0].ndim == 1:
            made = np.prod(given[0], dtype=dtype)
        else:
            return None
    result = np.asarray(made)
    return result if result.dtype == dtype and _is_plain(result) else None


def _is_float(dtype: np.dtype) -> bool:
    return dtype in (np.float32, np.float64)


def _is_exact(number: np.ndarray) -> bool:
    """Whether there is but one float that it can become."""
    return _is_float(number.dtype) or (number.dtype.kind in "bi" and abs(int(number)) <= _EXACT)


def _is_plain(number: np.ndarray) -> bool:
    """Zero, or a number that no compiler takes for zero."""
    if not _is_float(number.dtype):
        return True
    size = abs(number)
    return bool(size == 0 or (np.isfinite(size) and size >= np.finfo(number.dtype).tiny))


def _value(seen: Seen, results: Sequence[np.ndarray], dtype: np.dtype) -> Value:
    graph = seen.graph
    if all(map(graph.is_constant, seen.inputs)):
        return graph.scalar(results[0], dtype)
    vector: list[Any] = [None] * seen.n_variants
    for variant, result in zip(seen.variants, results, strict=True):
        vector[variant] = result
    return graph.number(tuple(vector), dtype)
