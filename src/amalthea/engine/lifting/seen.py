"""An equation as all variants have it: what a rule looks at, and what it can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..work import work_of_one
from .equations import Equation
from .flat import NotWoven
from .graph import Graph, Value

Sizes = tuple[int, ...]  # of one axis, for each variant that takes part
Shape = tuple[Sizes, ...]

LARGE = 4096  # elements, to compute which twice costs more than one operation more


@dataclass(frozen=True, eq=False)
class Seen:
    """An equation as all variants that take part have it."""

    graph: Graph
    variants: tuple[int, ...]
    n_variants: int
    equations: tuple[Equation, ...]
    inputs: Sequence[Value]
    takes: Sequence[Shape]
    gives: Sequence[Shape]

    @property
    def name(self) -> str:
        return self.equations[0].name

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.equations[0].parameters

    def every(self, name: str) -> list[Any]:
        """That parameter of each variant."""
        return [equation.parameters[name] for equation in self.equations]

    @property
    def alike(self) -> bool:
        """Whether all variants have the same parameters."""
        return len({equation.text for equation in self.equations}) == 1

    def room(self, output: int = 0) -> tuple[int, ...]:
        return tuple(max(sizes) for sizes in self.gives[output])

    def number(self, by_variant: Sequence[int]) -> Value:
        """A whole number that differs between variants."""
        if len(set(by_variant)) == 1:
            return self.graph.scalar(by_variant[0], "int32")
        vector: list[Any] = [None] * self.n_variants
        for variant, value in zip(self.variants, by_variant, strict=True):
            vector[variant] = int(value)
        return self.graph.number(tuple(vector), "int32")

    def masked(self, number: int, axes: Sequence[int], neutral: Any) -> Value:
        """An input in which everything behind the end of these axes is neutral.

        Where that is zero, a large array is so behind the end of its other axes too: what is
        multiplied along one axis here often is along another elsewhere, and both take the same.
        """
        value, sizes = self.inputs[number], self.takes[number]
        ragged = [axis for axis in range(len(sizes)) if is_ragged(sizes[axis])]
        wanted = [axis for axis in ragged if axis in axes]
        if neutral == 0:
            if self.graph.is_zero_behind(value):
                return value
            if wanted and prod(value.shape) >= LARGE:
                wanted = ragged
        for axis in wanted:
            value = masked(self.graph, value, axis, self.number(sizes[axis]), neutral)
        return value

    def bound(self, inputs: Sequence[Value] | None = None, /, **changed: Any) -> list[Value]:
        """The equation itself, on these inputs and with these parameters in place of its own."""
        equation = self.equations[0]
        parameters = {**equation.parameters, **changed}
        key = (self.name, tuple((name, str(value)) for name, value in sorted(parameters.items())))
        inputs = self.inputs if inputs is None else inputs
        gives = [(self.room(n), output.dtype) for n, output in enumerate(equation.gives)]
        work = work_of_one(self.name, parameters, [value.shape for value in inputs], gives)
        return self.graph.node(
            key,
            lambda *arrays: equation.operation.bind(parameters, arrays, may_differ=True),
            inputs,
            gives,
            work,
        )


def masked(graph: Graph, value: Value, axis: int, size: Value, neutral: Any) -> Value:
    """The same array, but neutral from ``size`` on along that axis."""
    inside = graph.within(size, axis, value.shape)

    def call(inside: Any, array: Any) -> Any:
        return jax.lax.select(inside, array, jax.lax.full_like(array, _like(neutral, array)))

    return graph.apply(call, ("masked", str(neutral)), inside, value, shape=value.shape)


def is_ragged(sizes: Sizes) -> bool:
    return len(set(sizes)) > 1


def _like(neutral: Any, array: Any) -> Any:
    """The neutral element in the type of an array: its least and largest numbers, or all bits."""
    kind = np.dtype(array.dtype)
    if neutral == "all bits":
        return np.invert(np.zeros((), kind))
    if neutral not in ("least", "most"):
        return np.asarray(neutral, kind)
    if jnp.issubdtype(kind, np.inexact):
        return np.asarray(-np.inf if neutral == "least" else np.inf, kind)
    if kind.kind == "b":
        return np.asarray(neutral == "most")
    limits = jnp.iinfo(kind)
    return np.asarray(limits.min if neutral == "least" else limits.max, kind)


def refuse_unless(condition: bool, seen: Seen) -> None:
    """Leave what is not foreseen to a program of its own."""
    if not condition:
        raise NotWoven(f"{seen.name} along an axis of several sizes")
