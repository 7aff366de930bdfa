"""How much work a traced program is, counted without running it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import jax
from jax.extend.core import primitives

_HALVES = ("bfloat16", "float16")
# JAX can map its own over fits, of which its list leaves some out. Others are tried.
_MAPPED = frozenset(
    {
        *(one.name for one in vars(primitives).values() if hasattr(one, "name")),
        *("optimization_barrier", "random_unwrap", "random_wrap", "split"),
    }
)


@dataclass(frozen=True)
class Work:
    """Counts for one call.

    ``operations`` are primitive operations, each with a price of its own; ``elements`` are the
    numbers that they write, and ``multiplications`` those in products of matrices and in
    convolutions. ``halves`` tells of floats of 16 bits, which compilers round where they like,
    ``calls_host`` of functions of Python that the program calls, and ``one_by_one`` of an operation
    that JAX cannot do for several fits at once, as those of cuDNN.
    """

    operations: float = 0
    elements: float = 0
    multiplications: float = 0
    convolves: bool = False
    halves: bool = False
    calls_host: bool = False
    one_by_one: bool = False

    def __add__(self, other: Work) -> Work:
        return total((self, other))

    def times(self, n: float) -> Work:
        return replace(
            self,
            operations=self.operations * n,
            elements=self.elements * n,
            multiplications=self.multiplications * n,
        )


def total(works: Iterable[Work]) -> Work:
    """The work of all."""
    operations = elements = multiplications = 0.0
    convolves = halves = calls_host = one_by_one = False
    for one in works:
        operations += one.operations
        elements += one.elements
        multiplications += one.multiplications
        convolves = convolves or one.convolves
        halves = halves or one.halves
        calls_host = calls_host or one.calls_host
        one_by_one = one_by_one or one.one_by_one
    return Work(operations, elements, multiplications, convolves, halves, calls_host, one_by_one)


def work_of(program: Any) -> Work:
    """Loops count as often as they run where that is known, and once where it is not."""
    return total(
        work_of_equation(
            equation.primitive,
            equation.params,
            [variable.aval for variable in equation.invars],
            [variable.aval for variable in equation.outvars],
        )
        for equation in getattr(program, "jaxpr", program).eqns
    )


def work_of_equation(
    primitive: Any, parameters: Mapping[str, Any], takes: Sequence[Any], gives: Sequence[Any]
) -> Work:
    """The same of an equation, from the shapes and types of what it takes and gives."""
    outputs = [(out.shape, out.dtype) for out in gives if hasattr(out, "shape")]
    inputs = [getattr(one, "shape", ()) for one in takes]
    work = work_of_one(primitive.name, parameters, inputs, outputs)
    if primitive.name in _MAPPED or _can_be_mapped(primitive, parameters, takes):
        return work
    return replace(work, one_by_one=True)


def _can_be_mapped(primitive: Any, parameters: Mapping[str, Any], takes: Sequence[Any]) -> bool:
    """Whether JAX knows how to do it for several fits at once."""
    if not takes or _programs_in(parameters):
        return True
    call = partial(primitive.bind, **parameters)
    try:
        several = [jax.ShapeDtypeStruct((2, *one.shape), one.dtype) for one in takes]
        jax.eval_shape(jax.vmap(call), *several)
    except Exception:  # each primitive has its own way to refuse
        return False
    return True


def work_of_one(
    name: str,
    parameters: Mapping[str, Any],
    takes: Sequence[tuple[int, ...]],
    gives: Sequence[tuple[tuple[int, ...], Any]],
) -> Work:
    """The work of an equation: from shapes that it takes, shapes and types that it gives."""
    inner = [work_of(part) for part in _programs_in(parameters)]
    if inner:
        times = parameters.get("length", 1) if name == "scan" else 1
        return total(part.times(times) for part in inner)
    written = sum(prod(shape) for shape, _ in gives)
    halves = any(dtype.itemsize == 2 and str(dtype) in _HALVES for _, dtype in gives)
    one = Work(1, written, halves=halves, calls_host="callback" in name)
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        products = prod(takes[0][axis] for axis in contracted)
        return replace(one, multiplications=written * products)
    if name == "conv_general_dilated":
        kernel = takes[1]
        features = kernel[parameters["dimension_numbers"].rhs_spec[0]]
        each = prod(kernel) / max(features, 1)
        return replace(one, multiplications=written * each, convolves=True)
    return one


def _programs_in(parameters: Mapping[str, Any]) -> list[Any]:
    found = []
    for value in parameters.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if hasattr(part, "eqns") or hasattr(part, "jaxpr"):
                found.append(part)
    return found
