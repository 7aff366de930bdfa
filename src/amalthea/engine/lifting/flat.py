"""A traced program as a plain list of equations.

Functions that JAX keeps apart (``jit`` within a program, rules of differentiation that have been
used) are written out, and what no result needs is dropped. Neither changes a number.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from ..products import product

# Equations that only call another program, and the parameter that holds it.
_CALLS = {
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


MOST_NUMBERS = 16  # in a constant that may differ between programs


class NotWoven(Exception):
    """These programs cannot be one; the message says why."""


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
        return np.asarray(self.value).tobytes(), _name(self.dtype), self.weak


Atom = int | Number  # a value of the program, by its number, or a scalar in its text


@dataclass(frozen=True, eq=False)
class Equation:
    """``outputs = primitive(*inputs)``; ``takes`` and ``gives`` are their shapes and types."""

    primitive: Any
    parameters: Mapping[str, Any]
    inputs: tuple[Atom, ...]
    outputs: tuple[int, ...]
    takes: tuple[Any, ...]
    gives: tuple[Any, ...]
    effects: bool = False

    @property
    def name(self) -> str:
        return str(self.primitive.name)

    @cached_property
    def text(self) -> tuple[tuple[str, str], ...]:
        """The parameters, spelled out."""
        return tuple((name, str(self.parameters[name])) for name in sorted(self.parameters))

    @cached_property
    def signature(self) -> tuple[Any, ...]:
        """What it does, whatever the sizes of its arrays."""
        left_out = _SHAPES.get(self.name, ())
        return (
            self.name,
            tuple(named for named in self.text if named[0] not in left_out),
            tuple((len(a.shape), a.dtype) for a in (*self.takes, *self.gives)),
            tuple(isinstance(atom, Number) for atom in self.inputs),
        )

    def bind(self, parameters: Mapping[str, Any], inputs: Sequence[Any]) -> list[Any]:
        """What the primitive makes of these arrays."""
        if self.name == "dot_general":
            return [product(self.primitive, parameters, *inputs)]
        results = self.primitive.bind(*inputs, **parameters)
        return list(results) if self.primitive.multiple_results else [results]


@dataclass(frozen=True, eq=False)
class Flat:
    """A program: the values 0, 1, ... are its arguments, then come ``constants``.

    ``twin`` is another that differs in its scalars alone.
    """

    takes: tuple[Any, ...]
    constants: tuple[np.ndarray, ...]
    equations: tuple[Equation, ...]
    results: tuple[Atom, ...]
    gives: tuple[Any, ...]
    twin: Flat | None = None

    def __call__(self, *arguments: Any) -> list[Any]:
        """What the program makes of these arrays."""
        known: dict[int, Any] = dict(enumerate((*arguments, *self.constants)))

        def read(atom: Atom) -> Any:
            return atom.value if isinstance(atom, Number) else known[atom]

        for equation in self.equations:
            outputs = equation.bind(equation.parameters, list(map(read, equation.inputs)))
            known.update(zip(equation.outputs, outputs, strict=True))
        return list(map(read, self.results))

    @property
    def numbers(self) -> list[Number]:
        """The scalars of the program, in order."""
        atoms = [atom for equation in self.equations for atom in equation.inputs]
        return [atom for atom in (*atoms, *self.results) if isinstance(atom, Number)]

    def with_numbers(self, new: Mapping[int, Any]) -> Flat:
        """The same program with these values of the scalars in these places, which then vary."""
        place = itertools.count()

        def replaced(atoms: tuple[Atom, ...]) -> tuple[Atom, ...]:
            places = [next(place) if isinstance(atom, Number) else -1 for atom in atoms]
            if new.keys().isdisjoint(places):
                return atoms
            return tuple(
                replace(atom, value=new[at], varies=True)
                if isinstance(atom, Number) and at in new
                else atom
                for atom, at in zip(atoms, places, strict=True)
            )

        equations = []
        for equation in self.equations:
            inputs = replaced(equation.inputs)
            same = inputs is equation.inputs
            equations.append(equation if same else replace(equation, inputs=inputs))
        results = replaced(self.results)
        return replace(self, equations=tuple(equations), results=results, twin=self.twin or self)

    @cached_property
    def signatures(self) -> tuple[Any, ...]:
        if self.twin is not None:
            return self.twin.signatures
        return tuple(equation.signature for equation in self.equations)

    @cached_property
    def skeleton(self) -> str:
        """Equal for programs that differ in their scalars alone."""
        if self.twin is not None:
            return self.twin.skeleton
        digest = hashlib.sha256(f"{self.takes}{self.gives}".encode())
        for constant in self.constants:
            digest.update(f"{constant.dtype}{constant.shape}".encode() + constant.tobytes())
        digest.update(self._text.encode())
        return digest.hexdigest()

    @cached_property
    def key(self) -> str:
        """Equal for programs that do the same."""
        digest = hashlib.sha256(self.skeleton.encode())
        for number in self.numbers:
            digest.update(np.asarray(number.value).tobytes())
        return digest.hexdigest()

    @property
    def has_address(self) -> bool:
        """Whether an object is only told by where it is, which another process uses otherwise."""
        return " at 0x" in (self.twin or self)._text

    @cached_property
    def _text(self) -> str:
        spelled = [
            f"{equation.name}{equation.text}{_spelled(equation.inputs)}{equation.outputs}"
            for equation in self.equations
        ]
        return "\n".join([*spelled, _spelled(self.results)])


def _spelled(atoms: Sequence[Atom]) -> str:
    """Values by their number, and of what is written into the program the form."""
    return ",".join(
        f"{np.shape(atom.value)}{_name(atom.dtype)}{atom.weak}"
        if isinstance(atom, Number)
        else str(atom)
        for atom in atoms
    )


@lru_cache
def _name(dtype: Any) -> str:
    return str(dtype)


def flatten(program: ClosedJaxpr) -> Flat:
    """Write out a traced program.

    Raises
    ------
    NotWoven
        For a program whose text does not tell all that it does.
    """
    return _Flattening(program).flat()


class _Flattening:
    def __init__(self, program: ClosedJaxpr) -> None:
        self._program = program
        self._constants: list[np.ndarray] = []
        self._constant: dict[int, Atom] = {}
        self._equations: list[Equation] = []
        self._n_values = 0

    def flat(self) -> Flat:
        closed = self._program
        arguments = [self._new() for _ in closed.jaxpr.invars]
        for constant in _all_constants(closed):
            if jax.dtypes.issubdtype(getattr(constant, "dtype", None), jax.dtypes.extended):
                raise NotWoven("a constant that is no array of numbers")
            array: Any = np.asarray(constant)
            if array.size <= MOST_NUMBERS:
                self._constant[id(constant)] = Number(array, array.dtype, False)
            elif id(constant) not in self._constant:
                self._constant[id(constant)] = self._new()
                self._constants.append(array)
        results = self._write(closed.jaxpr, closed.consts, arguments)
        return Flat(
            tuple(variable.aval for variable in closed.jaxpr.invars),
            tuple(self._constants),
            tuple(_needed(self._equations, results)),
            tuple(results),
            tuple(variable.aval for variable in closed.jaxpr.outvars),
        )

    def _new(self) -> int:
        self._n_values += 1
        return self._n_values - 1

    def _write(self, jaxpr: Jaxpr, constants: Sequence[Any], arguments: Sequence[Atom]) -> Any:
        known: dict[Any, Atom] = dict(zip(jaxpr.invars, arguments, strict=True))
        known.update(zip(jaxpr.constvars, map(self._of_constant, constants), strict=True))

        def atom(variable: Any) -> Atom:
            if isinstance(variable, Literal):
                kind: Any = variable.aval
                return Number(variable.val, kind.dtype, kind.weak_type)
            return known[variable]

        for equation in jaxpr.eqns:
            inputs = [atom(variable) for variable in equation.invars]
            inner = equation.params.get(_CALLS.get(equation.primitive.name, ""))
            if inner is None:
                outputs: Sequence[Atom] = self._add(equation, inputs)
            else:
                of_inner = inner.consts if isinstance(inner, ClosedJaxpr) else ()
                outputs = self._write(getattr(inner, "jaxpr", inner), of_inner, inputs)
            known.update(zip(equation.outvars, outputs, strict=True))
        return [atom(variable) for variable in jaxpr.outvars]

    def _add(self, equation: Any, inputs: Sequence[Atom]) -> tuple[int, ...]:
        if not all(map(_is_told_by_text, equation.params.values())):
            raise NotWoven(f"{equation.primitive.name} does what its text does not tell")
        outputs = tuple(self._new() for _ in equation.outvars)
        self._equations.append(
            Equation(
                equation.primitive,
                equation.params,
                tuple(inputs),
                outputs,
                tuple(variable.aval for variable in equation.invars),
                tuple(variable.aval for variable in equation.outvars),
                bool(equation.effects),
            )
        )
        return outputs

    def _of_constant(self, constant: Any) -> Atom:
        return self._constant[id(constant)]


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
        called = _CALLS.get(equation.primitive.name)
        if called in equation.params:
            yield equation.params[called]
        else:
            yield from equation.params.values()


def _all_constants(program: ClosedJaxpr) -> Iterator[Any]:
    """Constants of a program and of those that it only calls."""
    yield from program.consts
    ahead = [program.jaxpr]
    while ahead:
        for equation in ahead.pop().eqns:
            inner = equation.params.get(_CALLS.get(equation.primitive.name, ""))
            if isinstance(inner, ClosedJaxpr):
                yield from inner.consts
            if inner is not None:
                ahead.append(getattr(inner, "jaxpr", inner))


def _needed(equations: Sequence[Equation], results: Sequence[Atom]) -> list[Equation]:
    """The equations that results depend on, and those with effects."""
    needed = {atom for atom in results if isinstance(atom, int)}
    kept = []
    for equation in reversed(equations):
        if equation.effects or not needed.isdisjoint(equation.outputs):
            kept.append(equation)
            needed.update(atom for atom in equation.inputs if isinstance(atom, int))
    return kept[::-1]
