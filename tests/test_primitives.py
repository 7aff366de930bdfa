"""Primitives in another form than JAX's own give the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from amalthea.engine import primitives

pytestmark = pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="it is about XLA's compiler for CPUs"
)


def equation_of(function: Any, *arguments: Any) -> Any:
    (equation,) = jax.make_jaxpr(function)(*arguments).eqns
    return equation


@pytest.fixture
def doubles() -> Iterator[None]:
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize(
    ("n_units", "in_lanes", "is_turned"),
    [((8, 12), True, True), ((8, 12), False, False), ((100, 100), True, False)],
)
def test_gradients_of_small_matrices_in_lanes_are_multiplied_in_another_order(
    n_units: tuple[int, int], in_lanes: bool, is_turned: bool
) -> None:
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=(3, 10, n)) for n in n_units)
    along_first = {"dimension_numbers": (((0,), (0,)), ((), ()))}

    def gradient(left: Any, right: Any) -> Any:
        one = equation_of(partial(jax.lax.dot_general, **along_first), left, right)
        (product,) = primitives.bind(one.primitive, one.params, [left, right], may_differ=True)
        return product

    with primitives.many_at_once() if in_lanes else nullcontext():
        text = str(jax.make_jaxpr(gradient)(left[0], right[0]))
        ours = jax.vmap(gradient)(left, right)
    assert ("transpose" in text) == is_turned
    np.testing.assert_allclose(ours, left.transpose(0, 2, 1) @ right, rtol=1e-12)


def drawn(key: Any, shape: tuple[int, ...], bit_width: int = 32, **how: Any) -> tuple[Any, Any]:
    """Bits in JAX's form, and in ours."""
    draw = partial(jax.random.bits, shape=shape, dtype=f"uint{bit_width}")
    inner = equation_of(draw, key)
    while inner.primitive.name != "random_bits":
        (inner,) = inner.params["jaxpr"].eqns
    ours = jax.jit(lambda key: primitives.bind(inner.primitive, inner.params, [key], **how)[0])
    return draw(key), ours


@pytest.mark.parametrize("shape", [(), (1,), (7,), (32, 5), (3, 0, 2), (300, 300)])
def test_random_bits_are_those_of_jax(shape: tuple[int, ...]) -> None:
    for seed in (0, 1, 12345, -1):
        key = jax.random.fold_in(jax.random.key(seed), 7)
        theirs, ours = drawn(key, shape, may_differ=True)
        assert "while" not in ours.lower(key).as_text()
        np.testing.assert_array_equal(ours(key), theirs)


@pytest.mark.parametrize("why", ["rounding", "lanes", "width", "generator", "order"])
def test_other_random_bits_are_drawn_by_jax(why: str) -> None:
    key = jax.random.key(3, impl="rbg" if why == "generator" else None)
    partitionable = jax.config.jax_threefry_partitionable
    jax.config.update("jax_threefry_partitionable", why != "order")
    try:
        with primitives.many_at_once() if why == "lanes" else nullcontext():
            width = 16 if why == "width" else 32
            theirs, ours = drawn(key, (40,), width, may_differ=why != "rounding")
            assert "random_bits" in str(jax.make_jaxpr(ours)(key))
            np.testing.assert_array_equal(ours(key), theirs)
    finally:
        jax.config.update("jax_threefry_partitionable", partitionable)
