"""One program that does what any of several programs does.

The programs (the variants) are aligned. A scalar that differs between them becomes an input. So do
sizes: an array gets the room that the largest variant wants, and whatever mixes the elements of an
axis, a sum, a product of matrices, leaves out those that are not there (:mod:`.rules`). And where
an equation takes something else in one variant than in another, all are computed, and the input
says which is taken.

Why that is exact, by induction over the equations: for each variant, with its numbers, every value
holds that variant's own array at the beginning of its axes. It holds for the arguments. An equation
takes for each variant the value that holds the variant's own input; its rule sees that what is
behind the end of an axis reaches nothing before it. What is behind may be anything, NaN too: it
is never multiplied away, but replaced. So every result holds the variant's own result, up to the
order of sums to which zeros were added. Weights are zero behind the end before the first step, and
each step makes its results so: a sum or a product over them leaves nothing to replace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from . import rules
from .alignment import Joint, align
from .equations import Equation, Number
from .flat import Flat, NotWoven
from .graph import Graph, Value, Vector
from .seen import Seen, Shape, is_ragged, masked

# Worth a choice of each input, where that saves computing them twice.
_HEAVY = frozenset(
    {"dot_general", "conv_general_dilated", "random_bits", "scan", "while", "gather", "scatter-add"}
)


@dataclass(frozen=True)
class Slot:
    """An argument or a result of the program: its place in each variant, None where it has none.

    ``passes`` is, of a result, the argument that variants without it hand on. Of whole numbers,
    which nothing can go wrong with, they hand on what the others do: nobody reads it.
    ``zero_behind``: the argument is zero behind the end of each axis, and so is the result.
    """

    places: tuple[int | None, ...]
    passes: int | None = None
    zero_behind: bool = False


def weave(
    programs: Sequence[Flat], takes: Sequence[Slot], gives: Sequence[Slot], graph: Graph
) -> list[Value]:
    """Add to ``graph`` what the programs do; returns the results.

    Raises
    ------
    NotWoven
        Where that cannot be done exactly.
    """
    return _Weaver(programs, graph).results(takes, gives)


class _Weaver:
    def __init__(self, programs: Sequence[Flat], graph: Graph) -> None:
        self._programs, self._graph = programs, graph
        self._known: list[dict[int, Value]] = [{} for _ in programs]

    def results(self, takes: Sequence[Slot], gives: Sequence[Slot]) -> list[Value]:
        for program in self._programs:
            if any(equation.effects for equation in program.equations):
                raise NotWoven("it calls functions on the host")
        arguments = [self._argument(slot) for slot in takes]
        for variant, program in enumerate(self._programs):
            for number, array in enumerate(program.constants, start=len(program.takes)):
                self._known[variant][number] = self._graph.constant(array)
        for joint in align(self._programs):
            for part in self._parts(joint):
                self._write(part)
        return [self._result(slot, arguments) for slot in gives]

    def _argument(self, slot: Slot) -> Value:
        programs = self._programs
        avals = {
            variant: programs[variant].takes[place]
            for variant, place in enumerate(slot.places)
            if place is not None
        }
        kinds = {str(aval.dtype) for aval in avals.values()}
        if len(kinds) > 1 or len({len(aval.shape) for aval in avals.values()}) > 1:
            raise NotWoven("arguments of different types")
        shape = most([aval.shape for aval in avals.values()])
        dtype = next(iter(avals.values())).dtype
        value = self._graph.argument(shape, dtype, slot.zero_behind)
        for variant in avals:
            place = slot.places[variant]
            assert place is not None
            self._known[variant][place] = value
        return value

    def _result(self, slot: Slot, arguments: Sequence[Value]) -> Value:
        sources: dict[int, Value] = {}
        whole: dict[int, Value] = {}
        shapes: dict[int, tuple[int, ...]] = {}
        for variant, place in enumerate(slot.places):
            program = self._programs[variant]
            if place is None:
                assert slot.passes is not None
                sources[variant] = arguments[slot.passes]
                continue
            shapes[variant] = program.gives[place].shape
            sources[variant] = self._source(variant, program.results[place])
            if jnp.issubdtype(program.gives[place].dtype, jnp.integer):
                whole[variant] = sources[variant]
        sources = whole or sources
        room = arguments[slot.passes].shape if slot.passes is not None else most([*shapes.values()])
        value = self._one_of(sources, room)
        return self._with_zeros_behind(value, shapes) if slot.zero_behind else value

    def _with_zeros_behind(self, value: Value, shapes: dict[int, tuple[int, ...]]) -> Value:
        """``shapes`` are those of the variants that have it."""
        if self._graph.is_zero_behind(value):  # handed on as it came
            return value
        for axis, sizes in enumerate(zip(*shapes.values(), strict=True)):
            if is_ragged(sizes):
                of_variant = dict(zip(shapes, sizes, strict=True))
                vector = tuple(of_variant.get(variant) for variant in range(len(self._programs)))
                size = self._graph.number(vector, "int32")
                value = masked(self._graph, value, axis, size, 0)
        return value

    def _parts(self, joint: Joint) -> list[Joint]:
        """A joint, or parts of it that each take the same, where choosing costs more."""
        by_inputs: dict[Any, Joint] = {}
        for variant, equation in joint.items():
            inputs = tuple(self._same(variant, atom) for atom in equation.inputs)
            by_inputs.setdefault(inputs, {})[variant] = equation
        first = next(iter(joint.values()))
        n_differ = sum(len(set(column)) > 1 for column in zip(*by_inputs, strict=True))
        if len(by_inputs) == 1 or n_differ < 2 or first.name in _HEAVY:
            return [joint]
        return list(by_inputs.values())

    def _same(self, variant: int, atom: Any) -> Any:
        return "number" if isinstance(atom, Number) else self._known[variant][atom].number

    def _write(self, joint: Joint) -> None:
        variants, equations = tuple(joint), tuple(joint.values())
        first = equations[0]
        takes = [_shape(equations, "takes", n) for n in range(len(first.takes))]
        gives = [_shape(equations, "gives", n) for n in range(len(first.gives))]
        inputs = [
            self._input({v: joint[v].inputs[n] for v in variants}, shape_of(takes[n]))
            for n in range(len(takes))
        ]
        seen = Seen(self._graph, variants, len(self._programs), equations, inputs, takes, gives)
        try:
            outputs = rules.written(seen)
        except NotWoven:
            parts = _by_shapes(joint)
            if len(parts) == 1:
                raise
            for part in parts:
                self._write(part)
            return
        for variant, equation in joint.items():
            self._known[variant].update(zip(equation.outputs, outputs, strict=True))

    def _source(self, variant: int, atom: Any) -> Value:
        if isinstance(atom, Number):
            return self._graph.scalar(atom.value, atom.dtype)
        return self._known[variant][atom]

    def _input(self, atoms: dict[int, Any], shape: tuple[int, ...]) -> Value:
        """For each variant what it takes, with that shape."""
        numbers = [atom for atom in atoms.values() if isinstance(atom, Number)]
        if len(numbers) == len(atoms) and _may_differ(numbers):
            if len({np.shape(number.value) for number in numbers}) == 1:
                return self._numbers(dict(zip(atoms, numbers, strict=True)))
        return self._one_of({v: self._source(v, atom) for v, atom in atoms.items()}, shape)

    def _one_of(self, sources: dict[int, Value], shape: tuple[int, ...]) -> Value:
        """For each variant its own source, with that shape."""
        distinct: dict[int, Value] = {}
        for value in sources.values():
            distinct.setdefault(value.number, self._graph.cut_to(value, shape))
        order = list(distinct)
        which: list[Any] = [None] * len(self._programs)
        for variant, value in sources.items():
            which[variant] = order.index(value.number)
        choice: Vector = tuple(which)
        return self._graph.chosen(choice, list(distinct.values()))

    def _numbers(self, numbers: dict[int, Number]) -> Value:
        """Numbers of one shape that differ: inputs of the program."""
        some = next(iter(numbers.values()))
        flat = {variant: np.ravel(number.value) for variant, number in numbers.items()}
        scalars = []
        for place in range(np.size(some.value)):
            vector: list[Any] = [None] * len(self._programs)
            for variant, values in flat.items():
                vector[variant] = values[place]
            scalars.append(self._graph.number(tuple(vector), some.dtype))
        return self._graph.array_of(scalars, np.shape(some.value), some.dtype)


def _may_differ(numbers: Sequence[Number]) -> bool:
    """Whether they do, or would in another search: then one program serves both."""
    return any(number.varies for number in numbers) or len({number.key for number in numbers}) > 1


def _by_shapes(joint: Joint) -> list[Joint]:
    """Parts in which no axis has several sizes."""
    parts: dict[Any, Joint] = {}
    for variant, equation in joint.items():
        shapes = tuple(aval.shape for aval in (*equation.takes, *equation.gives))
        key = (shapes, equation.text)
        parts.setdefault(key, {})[variant] = equation
    return list(parts.values())


def most(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))


def shape_of(shape: Shape) -> tuple[int, ...]:
    return tuple(max(sizes) for sizes in shape)


def _shape(equations: Sequence[Equation], of: str, number: int) -> Shape:
    """The sizes of each axis, one for each variant."""
    shapes = [getattr(equation, of)[number].shape for equation in equations]
    return tuple(zip(*shapes, strict=True))
