"""Products of matrices, many of one shape at once, in the form that XLA's CPU compiler is fast in.

For a gradient of weights JAX multiplies two matrices along their first axes and turns the product
round. XLA swaps the two instead, and then multiplies a small matrix whose rows it has to pick out
of columns three to five times more slowly than one that lies as it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax

_MOST_NUMBERS = 64 * 64  # in a product: beyond, to turn a matrix round costs more than it saves
_ALONG_FIRST_AXES = (((0,), (0,)), ((), ()))
_TURNED = (((0,), (1,)), ((), ()))
_many_at_once: ContextVar[bool] = ContextVar("amalthea_many_at_once", default=False)


@contextmanager
def many_at_once() -> Iterator[None]:
    """What is traced inside is one fit of many in lanes."""
    token = _many_at_once.set(True)
    try:
        yield
    finally:
        _many_at_once.reset(token)


def product(primitive: Any, parameters: Mapping[str, Any], left: Any, right: Any) -> Any:
    """``dot_general``, up to the order of its sums."""
    if _many_at_once.get() and _is_small_gradient(parameters, left, right):
        parameters = {**parameters, "dimension_numbers": _TURNED}
        right = jax.lax.optimization_barrier(right.T)  # else XLA takes the turn out again
    return primitive.bind(left, right, **parameters)


def _is_small_gradient(parameters: Mapping[str, Any], left: Any, right: Any) -> bool:
    if jax.default_backend() != "cpu" or left.ndim != 2 or right.ndim != 2:
        return False
    along_first = parameters["dimension_numbers"] == _ALONG_FIRST_AXES
    return along_first and 1 < left.shape[1] * right.shape[1] <= _MOST_NUMBERS
