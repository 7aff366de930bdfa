"""The equations of a program that was written out."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from .. import primitives
from ..work import Work, work_of_equation

_TYPES_KEPT = 4096
# Equations that only call another program, and the parameter that holds it.
CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "eval_jaxpr": "call_jaxpr",
}
# Parameters that only repeat the shapes of what goes in or comes out, or where an axis is cut.
_SHAPES: dict[str, set[str]] = {
    "broadcast_in_dim": {"shape", "sharding"},
    "reshape": {"new_sizes", "sharding", "dimensions"},
    "iota": {"shape", "sharding"},
    "random_bits": {"shape"},
    "slice": {"start_indices", "limit_indices"},
    "split": {"sizes"},
    "gather": {"slice_sizes"},
    "pad": {"padding_config"},
}


@dataclass(frozen=True, eq=False)
class Number:
    """A scalar that is written into a program, or an array of a few of them.

    ``varies``: other programs of this form are known to have others in its place.
    """

    value: Any
    dtype: Any
    weak: bool
    varies: bool = False

    @cached_property
    def key(self) -> tuple[Any, ...]:
        return np.asarray(self.value).tobytes(), name_of(self.dtype), self.weak


Atom = int | Number  # a value of the program, by its number, or a scalar in its text


@dataclass(frozen=True, eq=False)
class Operation:
    """What an equation does, to arrays of which shapes and types, and which ones it gives."""

    primitive: Any
    parameters: Mapping[str, Any]
    takes: tuple[Any, ...]
    gives: tuple[Any, ...]
    effects: bool = False

    @classmethod
    def of(cls, equation: Any) -> Operation:
        takes = tuple(variable.aval for variable in equation.invars)
        gives = tuple(variable.aval for variable in equation.outvars)
        return cls(equation.primitive, equation.params, takes, gives, bool(equation.effects))

    @property
    def name(self) -> str:
        return str(self.primitive.name)

    @cached_property
    def text(self) -> tuple[tuple[str, str], ...]:
        """The parameters, spelled out."""
        return tuple((name, str(self.parameters[name])) for name in sorted(self.parameters))

    @cached_property
    def spelled(self) -> str:
        return f"{self.name}{self.text}"

    @cached_property
    def is_told_by_text(self) -> bool:
        return all(map(_is_told_by_text, self.parameters.values()))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Every size in it: of the arrays that it takes and gives, and whole numbers besides."""
        arrays = [size for array in (*self.takes, *self.gives) for size in array.shape]
        return *arrays, *_sizes_in(tuple(self.parameters[name] for name, _ in self.text))

    @cached_property
    def frame(self) -> str:
        """The same for operations that differ in sizes alone."""
        parameters = [(name, _without_sizes(self.parameters[name])) for name, _ in self.text]
        arrays = without_sizes(self.takes), without_sizes(self.gives)
        return f"{self.name}{arrays}{parameters}{self.effects}"

    def with_sizes(self, sizes: Sequence[int]) -> Operation:
        """The same operation on arrays of other sizes, in the order of :attr:`sizes`."""
        left = iter(sizes)
        takes, gives = with_shapes(self.takes, left), with_shapes(self.gives, left)
        new = {name: _with_sizes(self.parameters[name], left) for name, _ in self.text}
        return replace(self, parameters=new, takes=takes, gives=gives)

    @cached_property
    def work(self) -> Work:
        return work_of_equation(self.primitive, self.parameters, self.takes, self.gives)

    @cached_property
    def signature(self) -> tuple[Any, ...]:
        """What it does, whatever the sizes of its arrays."""
        left_out = _SHAPES.get(self.name, ())
        return (
            self.name,
            tuple(named for named in self.text if named[0] not in left_out),
            tuple((len(a.shape), a.dtype) for a in (*self.takes, *self.gives)),
        )

    def bind(
        self, parameters: Mapping[str, Any], inputs: Sequence[Any], *, may_differ: bool = False
    ) -> list[Any]:
        """What the primitive makes of these arrays.

        ``may_differ``: it need not be rounded as the program is that was traced.
        """
        return primitives.bind(self.primitive, parameters, inputs, may_differ=may_differ)


@dataclass(frozen=True, eq=False)
class Equation:
    """``outputs = operation(*inputs)``."""

    operation: Operation
    inputs: tuple[Atom, ...]
    outputs: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.operation.name

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.operation.parameters

    @property
    def takes(self) -> tuple[Any, ...]:
        return self.operation.takes

    @property
    def gives(self) -> tuple[Any, ...]:
        return self.operation.gives

    @property
    def effects(self) -> bool:
        return self.operation.effects

    @property
    def text(self) -> tuple[tuple[str, str], ...]:
        return self.operation.text

    @cached_property
    def signature(self) -> tuple[Any, ...]:
        """What it does, whatever the sizes of its arrays and the values of its numbers."""
        return *self.operation.signature, *(isinstance(atom, Number) for atom in self.inputs)


_operations: weakref.WeakKeyDictionary[Jaxpr, list[Operation]] = weakref.WeakKeyDictionary()


def operations_of(program: Jaxpr) -> list[Operation]:
    """What its equations do. Programs that are called from several others are looked at once."""
    known = _operations.get(program)
    if known is None:
        known = [Operation.of(equation) for equation in program.eqns]
        _operations[program] = known
    return known


@lru_cache
def name_of(dtype: Any) -> str:
    return str(dtype)


def with_shapes(arrays: Sequence[Any], sizes: Iterator[int]) -> tuple[Any, ...]:
    """The types of arrays of as many axes, with the next of these sizes."""
    return tuple(
        _with_shape(array, tuple(itertools.islice(sizes, len(array.shape)))) for array in arrays
    )


@lru_cache(_TYPES_KEPT)
def _with_shape(array: Any, shape: tuple[int, ...]) -> Any:
    return array if shape == array.shape else array.update(shape=shape)


def without_sizes(arrays: Sequence[Any]) -> str:
    """Types and numbers of axes of arrays."""
    told = [(len(a.shape), name_of(a.dtype), getattr(a, "weak_type", False)) for a in arrays]
    return str(told)


def _sizes_in(parameter: Any) -> Iterator[int]:
    """The whole numbers in a parameter, and in those that are sequences of others.

    Those of NumPy, as in the padding of a pool's gradient, count as text.
    """
    if type(parameter) is int:
        yield parameter
    elif type(parameter) in (tuple, list):
        for part in parameter:
            yield from _sizes_in(part)


def _with_sizes(parameter: Any, sizes: Iterator[int]) -> Any:
    """The same with other whole numbers."""
    if type(parameter) is int:
        return next(sizes)
    if type(parameter) in (tuple, list):
        return type(parameter)(_with_sizes(part, sizes) for part in parameter)
    return parameter


def _without_sizes(parameter: Any) -> Any:
    """The text of all but the whole numbers."""
    if type(parameter) is int:
        return int
    if type(parameter) in (tuple, list):
        return type(parameter), *map(_without_sizes, parameter)
    return str(parameter)


def _is_told_by_text(value: Any) -> bool:
    """Not so are functions, arrays, which are shortened, and constants of programs within."""
    if type(value) in (tuple, list):  # a named tuple, such as a generator of random bits, tells
        return all(map(_is_told_by_text, value))
    if isinstance(value, ClosedJaxpr) and value.consts:
        return False
    inner = getattr(value, "jaxpr", value)
    if isinstance(inner, Jaxpr):
        return all(map(_is_told_by_text, _parameters_within(inner)))
    if isinstance(value, np.ndarray | jax.Array):
        return False
    return isinstance(value, type | jax.sharding.Mesh) or not callable(value)


def _parameters_within(program: Jaxpr) -> Iterator[Any]:
    """What its equations do; of one that calls a program, that program alone."""
    for equation in program.eqns:
        called = CALLS.get(equation.primitive.name)
        if called in equation.params:
            yield equation.params[called]
        else:
            yield from equation.params.values()
