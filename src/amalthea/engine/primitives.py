"""Primitives of JAX in the form that XLA's compiler for CPUs is fast in.

For a gradient of weights JAX multiplies two matrices along their first axes and turns the product
round. XLA swaps the two instead, and then multiplies a small matrix whose rows it has to pick out
of columns three to five times more slowly than one that lies as it is read. So of many products at
once the second matrix is turned round first.

Random bits JAX has XLA draw in a loop of five rounds, which is several times slower on a CPU than
the rounds one after the other, and takes longer to compile. Many fits at once mostly have their
bits in common, and XLA would draw those again for each of them if they were no loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any

import jax

from . import threefry

_MOST_NUMBERS = 64 * 64  # in a product: beyond, to turn a matrix round costs more than it saves
_MOST_BITS = 2**31  # places that are numbers of 32 bits
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


def bind(
    primitive: Any, parameters: Mapping[str, Any], inputs: Sequence[Any], *, may_differ: bool
) -> list[Any]:
    """What a primitive makes of these arrays, many at once up to the order of sums in a product.

    ``may_differ``: one at a time, too, XLA may fuse and so round what is around it otherwise.
    """
    if jax.default_backend() == "cpu":
        if primitive.name == "dot_general" and _many_at_once.get():
            return [_product(primitive, parameters, *inputs)]
        if primitive.name == "random_bits" and may_differ and not _many_at_once.get():
            return [_random_bits(primitive, parameters, *inputs)]
    results = primitive.bind(*inputs, **parameters)
    return list(results) if primitive.multiple_results else [results]


def _product(primitive: Any, parameters: Mapping[str, Any], left: Any, right: Any) -> Any:
    if _is_small_gradient(parameters, left, right):
        parameters = {**parameters, "dimension_numbers": _TURNED}
        right = jax.lax.optimization_barrier(right.T)  # else XLA takes the turn out again
    return primitive.bind(left, right, **parameters)


def _is_small_gradient(parameters: Mapping[str, Any], left: Any, right: Any) -> bool:
    if left.ndim != 2 or right.ndim != 2:
        return False
    along_first = parameters["dimension_numbers"] == _ALONG_FIRST_AXES
    return along_first and 1 < left.shape[1] * right.shape[1] <= _MOST_NUMBERS


def _random_bits(primitive: Any, parameters: Mapping[str, Any], key: Any) -> Any:
    """JAX's own, to the bit."""
    config: Any = jax.config
    size, is_known = prod(parameters["shape"]), parameters["bit_width"] == 32 and key.ndim == 0
    is_known = is_known and bool(config.jax_threefry_partitionable)
    if not is_known or size >= _MOST_BITS or str(jax.random.key_impl(key)) != "threefry2x32":
        return primitive.bind(key, **parameters)
    places = jax.lax.iota("uint32", size)
    return threefry.bits(jax.random.key_data(key), places).reshape(parameters["shape"])
