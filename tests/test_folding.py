"""Equations that need no computing are left out of woven programs, and change no bit there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amalthea.engine.lifting.flat import Flat, flatten
from amalthea.engine.lifting.graph import Graph, Numbers
from amalthea.engine.lifting.weaving import Slot, weave

lax = jax.lax
X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
Function = Callable[..., Any]


def flat_of(function: Function, x: Any = X) -> Flat:
    return flatten(jax.make_jaxpr(function)(x))


def woven(functions: Sequence[Function], x: Any = X) -> tuple[list[Any], list[str]]:
    """What each gives in one program, and what is computed there beside constants."""
    n = len(functions)
    flats = [flat_of(function, x) for function in functions]
    numbers = Numbers(n)
    graph = Graph(numbers)
    here = [Slot((0,) * n)]
    results = weave(flats, here, here, graph)
    call, _ = graph.function(results)
    names = [node.key[0] for node in graph._live(results)]
    given = [jax.jit(lambda x, told: call([x], told))(x, numbers.of(v))[0] for v in range(n)]
    return given, [name for name in names if name != "constant"]


def assert_same(functions: Sequence[Function], computed: list[str], x: Any = X) -> None:
    given, names = woven(functions, x)
    for function, ours in zip(functions, given, strict=True):
        theirs = jax.jit(function)(x)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert names == computed


ONE: dict[str, tuple[Function, list[str]]] = {
    "copies": (lambda x: jnp.array(lax.stop_gradient(x), copy=True) + 1, ["add"]),
    "a sum over no axis": (lambda x: jnp.sum(x, axis=()), []),
    "a sum over one element": (lambda x: x[:1].sum(0), ["slice", "reshaped"]),
    "there and back": (
        lambda x: (x.reshape(12) * 2).reshape(3, 4).reshape(12),
        ["reshaped", "mul"],
    ),
    "out and in again": (lambda x: x.reshape(1, 4, 3).reshape(4, 3) + x, ["add"]),
    "a divisor that is counted": (
        lambda x: x / jnp.prod(jnp.array([4])).astype("float32"),
        ["div"],
    ),
    "a choice that is known": (
        lambda x: jnp.where(jnp.float32(4) == 0, jnp.zeros_like(x), x * 3),
        ["mul"],
    ),
    "a type that it has": (lambda x: lax.convert_element_type(x, "float32"), []),
}


@pytest.mark.parametrize("name", ONE)
def test_what_needs_no_computing_is_left_out(name: str) -> None:
    function, computed = ONE[name]
    assert_same([function], computed)


def counted(n: int) -> Function:
    def mean(x: Any) -> Any:
        divisor = lax.convert_element_type(jnp.prod(jnp.array([n])), "float32")
        safe = jnp.where(divisor == 0, jnp.float32(1), divisor)
        return x.sum() / safe * lax.convert_element_type(jnp.float32(n) > 5, "float32")

    return mean


def test_what_is_computed_of_numbers_is_a_number() -> None:
    # By a power of two compilers divide exactly, constant or not.
    assert_same([counted(4), counted(8), counted(16)], ["reduce_sum", "div", "mul"])


def test_a_case_that_only_some_choose_is_chosen_when_it_runs() -> None:
    def halved_if(condition: bool) -> Function:
        return lambda x: lax.select_n(jnp.bool_(condition), x * 3, x / 2)

    given, names = woven([halved_if(True), halved_if(False)])
    np.testing.assert_array_equal(given[0], X / 2)
    np.testing.assert_array_equal(given[1], X * 3)
    assert "select_n" in names


LEFT: dict[str, Function] = {
    "what compilers round as they like": lambda x: x * jnp.exp(jnp.float32(0.3)),
    "what they may take for zero": lambda x: x * (jnp.float32(1e-30) * jnp.float32(1e-10)),
    "what is infinite": lambda x: x * (jnp.float32(3e38) * jnp.float32(10)),
    "whole numbers that are added": lambda x: x[: 2 + 1] * 1.0,
    "a sum over several": lambda x: x.sum(0),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_not_ours_to_compute_is_left(name: str) -> None:
    given, _ = woven([LEFT[name]])
    np.testing.assert_array_equal(given[0], jax.jit(LEFT[name])(X))


@pytest.mark.parametrize("seed", range(20))
def test_scalars_are_what_the_compiler_makes_of_them(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def chain(values: np.ndarray) -> Function:
        a, b, c = map(np.float32, values)

        def function(x: Any) -> Any:
            made = lax.div(lax.sub(lax.mul(a, b), c), lax.add(lax.neg(b), c))
            made = lax.select_n(lax.lt(made, a), made, lax.convert_element_type(int(b), "float32"))
            return x * made

        return function

    draws = rng.normal(size=(3, 3)) * 10.0 ** rng.integers(-6, 6, size=(3, 3))
    assert_same([chain(values) for values in draws], ["mul"])
