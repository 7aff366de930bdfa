"""The program that is being woven: nodes that call JAX, and values between them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..work import Work, total

Vector = tuple[Any, ...]  # a value for each variant; None where a variant does not care


@dataclass(frozen=True)
class Value:
    """An array of the program; ``shape`` is as large as the largest variant wants it."""

    number: int
    shape: tuple[int, ...]
    dtype: Any


@dataclass(frozen=True, eq=False)
class _Node:
    key: Hashable
    call: Callable[..., Sequence[Any]]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    work: Work


class Numbers:
    """What differs between variants and is an input of the program: scalars, by their type."""

    def __init__(self, n_variants: int) -> None:
        self._n_variants = n_variants
        self._vectors: dict[str, list[list[Any]]] = {}

    def place(self, vector: Vector, dtype: Any) -> tuple[str, int]:
        """Where the program finds this number; vectors that do not contradict share a place."""
        kind = np.dtype(dtype).name
        known = self._vectors.setdefault(kind, [])
        for place, other in enumerate(known):
            pairs = list(zip(vector, other, strict=True))
            if all(a is None or b is None or _same(a, b, kind) for a, b in pairs):
                known[place] = [b if a is None else a for a, b in pairs]
                return kind, place
        known.append(list(vector))
        return kind, len(known) - 1

    def at(self, kind: str, place: int) -> Sequence[Any]:
        """What stands there, for each variant."""
        return self._vectors[kind][place]

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(sorted(self._vectors))

    def of(self, variant: int) -> list[np.ndarray]:
        """The numbers of a variant: an array for each type, in the order of ``kinds``."""
        return [
            np.array([0 if one[variant] is None else one[variant] for one in vectors], kind)
            for kind, vectors in sorted(self._vectors.items())
        ]


def _same(one: Any, other: Any, kind: str) -> bool:
    """To the bit: 0.0 is not -0.0."""
    return np.asarray(one, kind).tobytes() == np.asarray(other, kind).tobytes()


class Graph:
    """Nodes in the order in which they are computed; equal ones are computed once."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self._nodes: list[_Node] = []
        self._n_values = 0
        self._known: dict[Hashable, list[Value]] = {}
        self._given: list[Value] = []
        self._zero_behind: set[int] = set()
        self._constants: dict[int, np.ndarray] = {}
        self._scalars: dict[int, Sequence[Value]] = {}  # that an array is made of
        self._reshaped: dict[int, Value] = {}  # from what
        self._places: dict[int, tuple[str, int]] = {}  # of the numbers that it is given

    def argument(self, shape: tuple[int, ...], dtype: Any, zero_behind: bool = False) -> Value:
        value = self._new(shape, dtype)
        self._given.append(value)
        if zero_behind:
            self._zero_behind.add(value.number)
        return value

    def is_zero_behind(self, value: Value) -> bool:
        """Whether it is an argument that is known to be zero behind the end of each axis."""
        return value.number in self._zero_behind

    def constant(self, array: np.ndarray) -> Value:
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        value = self.node(key, lambda: [array], [], [(array.shape, array.dtype)])[0]
        self._constants[value.number] = array
        return value

    def scalar(self, value: Any, dtype: Any) -> Value:
        return self.constant(np.asarray(value, dtype))

    def number(self, vector: Vector, dtype: Any) -> Value:
        """A scalar that each variant has its own value of."""
        kind, place = self.numbers.place(vector, dtype)
        key = ("number", kind, place)
        if key not in self._known:
            value = self._new((), np.dtype(kind))
            self._known[key] = [value]
            self._places[value.number] = kind, place
        return self._known[key][0]

    def known(self, value: Value, variant: int) -> np.ndarray | None:
        """What a constant or numbers are for that variant; None of what has to be computed."""
        if value.number in self._constants:
            return self._constants[value.number]
        if value.number in self._scalars:
            scalars = [self.known(scalar, variant) for scalar in self._scalars[value.number]]
            if any(scalar is None for scalar in scalars):
                return None
            return np.array(scalars, value.dtype).reshape(value.shape)
        if value.number not in self._places:
            return None
        kind, place = self._places[value.number]
        told = self.numbers.at(kind, place)[variant]
        return None if told is None else np.asarray(told, kind)

    def is_constant(self, value: Value) -> bool:
        """Whether it is the same for all variants, here and in each program of this form."""
        return value.number in self._constants

    def array_of(self, scalars: Sequence[Value], shape: tuple[int, ...], dtype: Any) -> Value:
        """Scalars as an array of that shape."""
        if not shape:
            return scalars[0]

        def call(*values: Any) -> list[Any]:
            return [jnp.stack(values).reshape(shape)]

        value = self.node(("array of", shape), call, scalars, [(shape, dtype)])[0]
        self._scalars[value.number] = scalars
        return value

    def node(
        self,
        key: Hashable,
        call: Callable[..., Sequence[Any]],
        inputs: Sequence[Value],
        gives: Sequence[tuple[tuple[int, ...], Any]],
        work: Work | None = None,
    ) -> list[Value]:
        """The results of ``call``; ``key`` tells what it does to its inputs."""
        full = (key, *(value.number for value in inputs))
        if full not in self._known:
            values = [self._new(shape, dtype) for shape, dtype in gives]
            work = work or Work(1, sum(prod(value.shape) for value in values))
            into, out = (tuple(value.number for value in some) for some in (inputs, values))
            self._nodes.append(_Node(key, call, into, out, work))
            self._known[full] = values
        return self._known[full]

    def apply(
        self, function: Callable[..., Any], key: Hashable, *inputs: Value, shape: tuple[int, ...]
    ) -> Value:
        """A function of JAX that keeps the type of its last input."""
        (value,) = self.node(
            key, lambda *arrays: [function(*arrays)], inputs, [(shape, inputs[-1].dtype)]
        )
        return value

    def reshaped(self, value: Value, shape: tuple[int, ...]) -> Value:
        """The same elements in that shape; what was reshaped from it is there already."""
        while value.number in self._reshaped and value.shape != shape:
            value = self._reshaped[value.number]
        if value.shape == shape:
            return value
        new = self.apply(
            lambda array: jax.lax.reshape(array, shape), ("reshaped", shape), value, shape=shape
        )
        self._reshaped[new.number] = value
        return new

    def chosen(self, vector: Vector, values: Sequence[Value]) -> Value:
        """Of values of one shape the one that ``vector`` names for each variant."""
        if len(values) == 1:
            return values[0]
        as_flag = [None if one is None else bool(one) for one in vector]
        which = (
            self.number(tuple(as_flag), bool) if len(values) == 2 else self.number(vector, "int32")
        )
        return self.apply(
            lambda case, *cases: jax.lax.select_n(case, *cases),
            "chosen",
            which,
            *values,
            shape=values[0].shape,
        )

    def cut_to(self, value: Value, shape: tuple[int, ...]) -> Value:
        """A value with more or less room at the end of its axes."""
        if value.shape == shape:
            return value
        less = tuple(slice(0, min(a, b)) for a, b in zip(value.shape, shape, strict=True))
        more = [(0, max(0, b - a)) for a, b in zip(value.shape, shape, strict=True)]
        return self.apply(
            lambda array: jnp.pad(array[less], more), ("cut to", shape), value, shape=shape
        )

    def within(self, size: Value, axis: int, shape: tuple[int, ...]) -> Value:
        """Whether a place along that axis is less than ``size``, broadcast to ``shape``."""

        def call(size: Any) -> list[Any]:
            place = jax.lax.broadcasted_iota("int32", shape, axis)
            return [jax.lax.lt(place, jax.lax.broadcast(size, shape))]

        key = ("within", axis, shape)
        return self.node(key, call, [size], [(shape, np.dtype(bool))])[0]

    def function(
        self, results: Sequence[Value]
    ) -> tuple[Callable[[Sequence[Any], Any], list[Any]], Work]:
        """The program as a function of its arguments and of the numbers, by type; its work."""
        nodes, places = self._live(results), self._places
        arguments = [value.number for value in self._given]
        kinds = self.numbers.kinds
        wanted = [value.number for value in results]

        def call(values: Sequence[Any], numbers: Sequence[Any]) -> list[Any]:
            known = dict(zip(arguments, values, strict=True))
            by_kind = dict(zip(kinds, numbers, strict=True))
            known.update((value, by_kind[kind][place]) for value, (kind, place) in places.items())
            for node in nodes:
                outputs = node.call(*(known[number] for number in node.inputs))
                known.update(zip(node.outputs, outputs, strict=True))
            return [known[number] for number in wanted]

        return call, total(node.work for node in nodes)

    def sources(self, result: Value) -> set[int]:
        """The arguments that it depends on, by their place; -1 stands for any number."""
        made_by = {value: node for node in self._nodes for value in node.outputs}
        places = {value.number: place for place, value in enumerate(self._given)}
        found: set[int] = set()
        seen, ahead = {result.number}, [result.number]
        while ahead:
            value = ahead.pop()
            if value in made_by:
                new = set(made_by[value].inputs) - seen
                seen |= new
                ahead += new
            else:
                found.add(places.get(value, -1))
        return found

    def text(self, results: Sequence[Value]) -> tuple[Any, ...]:
        """Equal for programs that do the same with the same arguments."""
        named: dict[int, int] = {}

        def name(value: int) -> int:
            return named.setdefault(value, len(named))

        arguments = [(name(value.number), value.shape, str(value.dtype)) for value in self._given]
        numbers = [(name(value), kind, place) for value, (kind, place) in self._places.items()]
        nodes = [
            (node.key, *map(name, node.inputs), *map(name, node.outputs))
            for node in self._live(results)
        ]
        wanted = [name(value.number) for value in results]
        return tuple(arguments), tuple(numbers), tuple(nodes), tuple(wanted)

    def _live(self, results: Sequence[Value]) -> list[_Node]:
        needed = {value.number for value in results}
        kept = []
        for node in reversed(self._nodes):
            if not needed.isdisjoint(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        return kept[::-1]

    def _new(self, shape: Sequence[int], dtype: Any) -> Value:
        self._n_values += 1
        return Value(self._n_values - 1, tuple(shape), dtype)
