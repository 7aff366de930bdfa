"""A traced program as a plain list of equations.

Functions that JAX keeps apart (``jit`` within a program, rules of differentiation that have been
used) are written out, and what no result needs is dropped. Neither changes a number.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from ..work import Work, total
from .equations import (
    CALLS,
    Atom,
    Equation,
    Number,
    Operation,
    name_of,
    operations_of,
    with_shapes,
    without_sizes,
)

ResizedOperations = dict[tuple[Operation, tuple[int, ...]], Operation]
MOST_NUMBERS = 16  # in a constant that may differ between programs


class NotWoven(Exception):
    """These programs cannot be one; the message says why."""


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
            inputs = list(map(read, equation.inputs))
            outputs = equation.operation.bind(equation.parameters, inputs)
            known.update(zip(equation.outputs, outputs, strict=True))
        return list(map(read, self.results))

    @property
    def numbers(self) -> list[Number]:
        """The scalars of the program, in order."""
        atoms = [atom for equation in self.equations for atom in equation.inputs]
        return [atom for atom in (*atoms, *self.results) if isinstance(atom, Number)]

    def with_numbers(self, new: Mapping[int, Any], *, vary: bool = True) -> Flat:
        """The same program with these values of the scalars in these places, which may vary."""
        place = itertools.count()

        def replaced(atoms: tuple[Atom, ...]) -> tuple[Atom, ...]:
            places = [next(place) if isinstance(atom, Number) else -1 for atom in atoms]
            if new.keys().isdisjoint(places):
                return atoms
            return tuple(
                replace(atom, value=new[at], varies=atom.varies or vary)
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
    def sizes(self) -> tuple[int, ...]:
        """Every size in it, in order."""
        arrays = [size for array in (*self.takes, *self.gives) for size in array.shape]
        return *arrays, *(size for e in self.equations for size in e.operation.sizes)

    @cached_property
    def frame(self) -> str:
        """Equal for programs that differ in scalars and sizes alone."""
        if self.twin is not None:
            return self.twin.frame
        parts = [without_sizes(self.takes), without_sizes(self.gives), _spelled(self.results)]
        parts += [
            f"{equation.operation.frame}{_spelled(equation.inputs)}{equation.outputs}"
            for equation in self.equations
        ]
        digest = hashlib.sha256("\n".join(parts).encode())
        digest.update(self._constants_told)
        return digest.hexdigest()

    def with_sizes(self, sizes: Sequence[int], known: ResizedOperations) -> Flat:
        """The same program on arrays of other sizes, in the order of :attr:`sizes`.

        ``known`` are its operations that were met with other sizes before.
        """
        left = iter(sizes)
        takes, gives = with_shapes(self.takes, left), with_shapes(self.gives, left)

        def resized(equation: Equation) -> Equation:
            operation = equation.operation
            own = tuple(itertools.islice(left, len(operation.sizes)))
            if own == operation.sizes:
                return equation
            key = operation, own
            if key not in known:
                known[key] = operation.with_sizes(own)
            return Equation(known[key], equation.inputs, equation.outputs)

        equations = tuple(map(resized, self.equations))
        return Flat(takes, self.constants, equations, self.results, gives)

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
        digest.update(self._constants_told)
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
    def work(self) -> Work:
        return total(equation.operation.work for equation in self.equations)

    @property
    def has_address(self) -> bool:
        """Whether an object is only told by where it is, which another process uses otherwise."""
        return " at 0x" in (self.twin or self)._text

    @property
    def _constants_told(self) -> bytes:
        return b"".join(
            f"{constant.dtype}{constant.shape}".encode() + constant.tobytes()
            for constant in self.constants
        )

    @cached_property
    def _text(self) -> str:
        spelled = [
            f"{equation.operation.spelled}{_spelled(equation.inputs)}{equation.outputs}"
            for equation in self.equations
        ]
        return "\n".join([*spelled, _spelled(self.results)])


def _spelled(atoms: Sequence[Atom]) -> str:
    """Values by their number, and of what is written into the program the form."""
    return ",".join(
        f"{np.shape(atom.value)}{name_of(atom.dtype)}{atom.weak}"
        if isinstance(atom, Number)
        else str(atom)
        for atom in atoms
    )


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

        for equation, operation in zip(jaxpr.eqns, operations_of(jaxpr), strict=True):
            inputs = [atom(variable) for variable in equation.invars]
            inner = operation.parameters.get(CALLS.get(operation.name, ""))
            if inner is None:
                outputs: Sequence[Atom] = self._add(operation, inputs)
            else:
                of_inner = inner.consts if isinstance(inner, ClosedJaxpr) else ()
                outputs = self._write(getattr(inner, "jaxpr", inner), of_inner, inputs)
            known.update(zip(equation.outvars, outputs, strict=True))
        return [atom(variable) for variable in jaxpr.outvars]

    def _add(self, operation: Operation, inputs: Sequence[Atom]) -> tuple[int, ...]:
        if not operation.is_told_by_text:
            raise NotWoven(f"{operation.name} does what its text does not tell")
        outputs = tuple(self._new() for _ in operation.gives)
        self._equations.append(Equation(operation, tuple(inputs), outputs))
        return outputs

    def _of_constant(self, constant: Any) -> Atom:
        return self._constant[id(constant)]


def _all_constants(program: ClosedJaxpr) -> Iterator[Any]:
    """Constants of a program and of those that it only calls."""
    yield from program.consts
    ahead = [program.jaxpr]
    while ahead:
        for equation in ahead.pop().eqns:
            inner = equation.params.get(CALLS.get(equation.primitive.name, ""))
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
