"""How much work a traced program is, counted without running it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

_HALVES = ("bfloat16", "float16")


@dataclass(frozen=True)
class Work:
    """Counts for one call.

    ``operations`` are primitive operations, each with a price of its own; ``elements`` are the
    numbers that they write, and ``multiplications`` those in products of matrices and in
    convolutions. ``halves`` tells of floats of 16 bits, which compilers round where they like, and
    ``calls_host`` of functions of Python that the program calls.
    """

    operations: float = 0
    elements: float = 0
    multiplications: float = 0
    convolves: bool = False
    halves: bool = False
    calls_host: bool = False

    def __add__(self, other: Work) -> Work:
        return Work(
            self.operations + other.operations,
            self.elements + other.elements,
            self.multiplications + other.multiplications,
            self.convolves or other.convolves,
            self.halves or other.halves,
            self.calls_host or other.calls_host,
        )

    def times(self, n: float) -> Work:
        return replace(
            self,
            operations=self.operations * n,
            elements=self.elements * n,
            multiplications=self.multiplications * n,
        )


def work_of(program: Any) -> Work:
    """Loops count as often as they run where that is known, and once where it is not."""
    total = Work()
    for equation in getattr(program, "jaxpr", program).eqns:
        inner = [work_of(part) for part in _programs_in(equation.params)]
        if inner:
            times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
            for part in inner:
                total += part.times(times)
        else:
            total += _work_of_one(equation)
    return total


def _work_of_one(equation: Any) -> Work:
    outputs = [out.aval for out in equation.outvars if hasattr(out.aval, "shape")]
    written = sum(prod(out.shape) for out in outputs)
    name = equation.primitive.name
    halves = any(str(out.dtype) in _HALVES for out in outputs)
    one = Work(1, written, halves=halves, calls_host="callback" in name)
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return replace(one, multiplications=written * prod(shape[axis] for axis in contracted))
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        each = prod(kernel) / max(features, 1)
        return replace(one, multiplications=written * each, convolves=True)
    return one


def _programs_in(parameters: dict[str, Any]) -> list[Any]:
    found = []
    for value in parameters.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if hasattr(part, "eqns") or hasattr(part, "jaxpr"):
                found.append(part)
    return found
