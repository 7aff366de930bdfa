"""The work of a program is counted from its equations, however they are nested."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amalthea.engine.lifting.equations import operations_of
from amalthea.engine.lifting.flat import flatten
from amalthea.engine.work import Work, work_of

X = np.ones((3, 4), "float32")


def looped(x: Any) -> Any:
    return jax.lax.scan(lambda c, row: (c + row @ row, jnp.tanh(row)), jnp.float32(0), x)


FUNCTIONS: dict[str, tuple[Any, Work]] = {
    "a product": (lambda x: x @ x.T, Work(2, 12 + 9, 9 * 4)),
    "a loop": (looped, Work(3 * 3, 3 * (1 + 1 + 4), 3 * 4)),
    "halves": (lambda x: x.astype("bfloat16") * 2, Work(2, 24, halves=True)),
    "the host": (
        lambda x: jax.pure_callback(np.sin, jax.typeof(x), x),
        Work(1, 12, calls_host=True, one_by_one=True),
    ),
    "another program": (lambda x: jax.jit(jnp.tanh)(x) + jax.jit(jnp.tanh)(2 * x), Work(4, 48)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_work_is_what_the_equations_do(name: str) -> None:
    function, work = FUNCTIONS[name]
    program = jax.make_jaxpr(function)(X)
    assert work_of(program) == work
    if name != "the host":
        assert flatten(program).work == work


def test_what_no_result_needs_is_no_work() -> None:
    program = jax.make_jaxpr(lambda x: (jnp.tanh(x), 2 * x)[1])(X)
    assert work_of(program).operations == 2
    assert flatten(program).work.operations == 1


def test_a_program_that_several_call_is_looked_at_once() -> None:
    inner = jax.jit(lambda x: jnp.tanh(x) * 2)
    texts = []
    for factor in (2.0, 3.0):
        program = jax.make_jaxpr(lambda x, factor=factor: inner(x) + factor)(X)
        (called,) = [one.params["jaxpr"] for one in program.eqns if "jaxpr" in one.params]
        texts.append([id(operation) for operation in operations_of(called.jaxpr)])
    assert texts[0] == texts[1]
