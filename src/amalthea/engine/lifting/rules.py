"""What each primitive needs so that nothing behind the end of an axis reaches what is before it.

An axis is *ragged* where its size differs between variants. Elementwise operations leave every
element where it is, and need nothing. What adds up, compares or multiplies along a ragged axis gets
an input in which everything behind the end is neutral: zero for a sum. What moves elements about is
written as looking each one up at its place, which is computed from the sizes. A primitive that is
not here, or one that does to a ragged axis what is not foreseen, is not woven.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..work import work_of_one
from .flat import Equation, NotWoven
from .graph import Graph, Value

Sizes = tuple[int, ...]  # of one axis, for each variant that takes part
Shape = tuple[Sizes, ...]


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
        return len({str(equation.parameters) for equation in self.equations}) == 1

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
        """An input in which everything behind the end of these axes is neutral."""
        value = self.inputs[number]
        for axis in axes:
            sizes = self.takes[number][axis]
            if is_ragged(sizes):
                inside = self.graph.within(self.number(sizes), axis, value.shape)
                value = self.graph.apply(
                    lambda inside, array: jnp.where(inside, array, _like(neutral, array)),
                    ("masked", str(neutral)),
                    inside,
                    value,
                    shape=value.shape,
                )
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
            key, lambda *arrays: equation.bind(parameters, arrays), inputs, gives, work
        )


Rule = Callable[[Seen], list[Value]]


def written(seen: Seen) -> list[Value]:
    """The results of an equation for all variants."""
    rule = _RULES.get(seen.name)
    ragged = any(is_ragged(sizes) for shape in (*seen.takes, *seen.gives) for sizes in shape)
    if not ragged and seen.alike:
        return seen.bound()
    if rule is None:
        raise NotWoven(f"{seen.name} along an axis of several sizes")
    return rule(seen)


def is_ragged(sizes: Sizes) -> bool:
    return len(set(sizes)) > 1


def _like(neutral: Any, array: Any) -> Any:
    """The neutral element in the type of an array: its least and largest numbers too."""
    if neutral in ("least", "most") and not jnp.issubdtype(array.dtype, np.inexact):
        limits = jnp.iinfo(array.dtype)
        return np.asarray(limits.min if neutral == "least" else limits.max, array.dtype)
    return np.asarray({"least": -np.inf, "most": np.inf}.get(neutral, neutral), array.dtype)


def _refuse_unless(condition: bool, seen: Seen) -> None:
    if not condition:
        raise NotWoven(f"{seen.name} along an axis of several sizes")


def _elementwise(seen: Seen) -> list[Value]:
    """Inputs are scalars, or have the shape of the output, or one element along an axis."""
    for shape in seen.takes:
        if shape:
            _refuse_unless(len(shape) == len(seen.gives[0]), seen)
            for sizes, out in zip(shape, seen.gives[0], strict=True):
                _refuse_unless(sizes == out or set(sizes) == {1}, seen)
    return seen.bound()


def _reduction(neutral: Any) -> Rule:
    def rule(seen: Seen) -> list[Value]:
        return seen.bound([seen.masked(0, seen.parameters["axes"], neutral)])

    return rule


def _cumulative(neutral: Any) -> Rule:
    """What is behind the end comes last, unless it goes backwards."""

    def rule(seen: Seen) -> list[Value]:
        axes = [seen.parameters["axis"]] if seen.parameters["reverse"] else []
        return seen.bound([seen.masked(0, axes, neutral)])

    return rule


def _dot_general(seen: Seen) -> list[Value]:
    (left, right), _ = seen.parameters["dimension_numbers"]
    return seen.bound([seen.masked(0, left, 0), seen.masked(1, right, 0)])


def _convolution(seen: Seen) -> list[Value]:
    """Images (batch, features, space...), kernels (features out, in, space...), in their order."""
    numbers = seen.parameters["dimension_numbers"]
    batch, features, *space = numbers.lhs_spec
    _, features_in, *kernel_space = numbers.rhs_spec
    for number, axes in ((0, space), (1, kernel_space)):
        _refuse_unless(not any(is_ragged(seen.takes[number][axis]) for axis in axes), seen)
    groups = seen.parameters["feature_group_count"], seen.parameters["batch_group_count"]
    _refuse_unless(groups == (1, 1), seen)
    return seen.bound([seen.masked(0, [features], 0), seen.masked(1, [features_in], 0)])


def _broadcast(seen: Seen) -> list[Value]:
    for sizes, axis in zip(seen.takes[0], seen.parameters["broadcast_dimensions"], strict=True):
        _refuse_unless(sizes == seen.gives[0][axis] or set(sizes) == {1}, seen)
    return seen.bound(shape=seen.room())


def _iota(seen: Seen) -> list[Value]:
    return seen.bound(shape=seen.room())


def _transpose(seen: Seen) -> list[Value]:
    return seen.bound()


def _reshape(seen: Seen) -> list[Value]:
    def without_ones(shape: Shape) -> list[Sizes]:
        return [sizes for sizes in shape if set(sizes) != {1}]

    if without_ones(seen.takes[0]) == without_ones(seen.gives[0]):
        return seen.bound(new_sizes=seen.room())
    return [_looked_up(seen, seen.inputs[0], seen.takes[0], _flat_place(seen))]


def _random_bits(seen: Seen) -> list[Value]:
    """The bits of an element depend on the key and on its place in the flat array alone.

    That is so with JAX's partitionable generator.
    """
    config: Any = jax.config
    _refuse_unless(bool(config.jax_threefry_partitionable), seen)
    if not any(is_ragged(sizes) for sizes in seen.gives[0][1:]):
        return seen.bound(shape=seen.room())
    several = (prod(seen.room()),)
    equation = seen.equations[0]
    parameters = {**equation.parameters, "shape": several}
    key = ("random_bits", str(parameters))
    flat = seen.graph.node(
        key,
        lambda *arrays: equation.bind(parameters, arrays),
        seen.inputs,
        [(several, equation.gives[0].dtype)],
    )[0]
    sizes: Shape = (tuple(prod(equation.gives[0].shape) for equation in seen.equations),)
    return [_looked_up(seen, flat, sizes, _flat_place(seen))]


def _slice(seen: Seen) -> list[Value]:
    starts, limits = seen.every("start_indices"), seen.every("limit_indices")
    strides = seen.parameters["strides"] or (1,) * len(starts[0])
    value, shape = seen.inputs[0], seen.takes[0]
    for axis, stride in enumerate(strides):
        from_, to = ([one[axis] for one in some] for some in (starts, limits))
        whole = stride == 1 and set(from_) == {0} and tuple(to) == shape[axis]
        if not whole:
            value = _taken(seen, value, axis, from_, stride, max(seen.gives[0][axis]))
    return [value]


def _split(seen: Seen) -> list[Value]:
    axis, sizes = seen.parameters["axis"], seen.every("sizes")
    ends = [np.cumsum([0, *one]) for one in sizes]
    return [
        _taken(seen, seen.inputs[0], axis, [int(end[n]) for end in ends], 1, max(room[axis]))
        for n, room in enumerate(seen.gives)
    ]


def _taken(
    seen: Seen, value: Value, axis: int, starts: Sequence[int], stride: int, room: int
) -> Value:
    """``room`` elements along an axis, from where each variant wants it."""
    shape = (*value.shape[:axis], room, *value.shape[axis + 1 :])
    last = value.shape[axis] - 1

    def call(start: Any, array: Any) -> Any:
        return jnp.take(array, jnp.clip(start + stride * np.arange(room), 0, last), axis)

    key = ("taken", axis, stride, room)
    return seen.graph.apply(call, key, seen.number(starts), value, shape=shape)


def _concatenate(seen: Seen) -> list[Value]:
    axis = seen.parameters["dimension"]
    pieces = [shape[axis] for shape in seen.takes]
    if not any(is_ragged(sizes) for sizes in pieces):
        return seen.bound()
    graph, room = seen.graph, seen.room()
    begins = np.cumsum([[0] * len(seen.variants), *pieces], axis=0)  # piece, variant
    rooms = [value.shape[axis] for value in seen.inputs]
    offsets = np.cumsum([0, *rooms])
    joined = (*room[:axis], int(offsets[-1]), *room[axis + 1 :])
    padded = graph.node(
        ("joined", axis),
        lambda *arrays: [jnp.concatenate(arrays, axis)],
        list(seen.inputs),
        [(joined, seen.equations[0].gives[0].dtype)],
    )[0]
    where = [seen.number([int(begin) for begin in row]) for row in begins[:-1]]

    def call(*inputs: Any) -> Any:
        *starts, array = inputs
        place = np.arange(room[axis])
        at: Any = place
        for start, offset in zip(starts, offsets, strict=False):
            at = jnp.where(place >= start, place - start + int(offset), at)
        return jnp.take(array, jnp.clip(at, 0, int(offsets[-1]) - 1), axis)

    key = ("concatenated", axis, room[axis], tuple(map(int, offsets)))
    return [graph.apply(call, key, *where, padded, shape=room)]


def _pad(seen: Seen) -> list[Value]:
    """Shifted to where each variant wants it, with the padding value everywhere else."""
    value, padding = seen.inputs
    graph, configs = seen.graph, seen.every("padding_config")
    for axis, sizes in enumerate(seen.takes[0]):
        low, high, inner = ([config[axis][n] for config in configs] for n in range(3))
        if set(low) == set(high) == set(inner) == {0}:
            continue
        _refuse_unless(set(inner) == {0} and min(*low, *high, 0) == 0, seen)
        shape = (*value.shape[:axis], seen.room()[axis], *value.shape[axis + 1 :])

        def call(
            start: Any, size: Any, fill: Any, array: Any, axis: int = axis, shape: Any = shape
        ) -> Any:
            place = np.arange(shape[axis]) - start
            moved = jnp.take(array, jnp.clip(place, 0, array.shape[axis] - 1), axis)
            inside = (place >= 0) & (place < size)
            aside = [1] * len(shape)
            aside[axis] = shape[axis]
            return jnp.where(inside.reshape(aside), moved, fill)

        numbers = seen.number(low), seen.number(sizes)
        value = graph.apply(call, ("padded", axis, shape), *numbers, padding, value, shape=shape)
    return [value]


def _gather(seen: Seen) -> list[Value]:
    """Whole rows of a table: its other axes may be ragged, and those of the indices."""
    numbers = seen.parameters["dimension_numbers"]
    sizes = seen.every("slice_sizes")
    looked_up = {*numbers.start_index_map, *numbers.collapsed_slice_dims}
    _refuse_unless(not numbers.operand_batching_dims, seen)
    _refuse_unless(not is_ragged(seen.takes[1][-1]), seen)
    for axis, of_table in enumerate(seen.takes[0]):
        own = tuple(one[axis] for one in sizes)
        _refuse_unless(not is_ragged(of_table) if axis in looked_up else own == of_table, seen)
        _refuse_unless(axis not in looked_up or not is_ragged(own), seen)
    return seen.bound(
        slice_sizes=tuple(max(one[axis] for one in sizes) for axis in range(len(sizes[0])))
    )


def _scatter_add(seen: Seen) -> list[Value]:
    """Whole rows added to a table; rows that are not there add zero."""
    numbers = seen.parameters["dimension_numbers"]
    _refuse_unless(not numbers.operand_batching_dims, seen)
    _refuse_unless(not is_ragged(seen.takes[1][-1]), seen)
    for axis in (*numbers.scatter_dims_to_operand_dims, *numbers.inserted_window_dims):
        _refuse_unless(not is_ragged(seen.takes[0][axis]), seen)
    window = [n for n in range(len(seen.takes[0])) if n not in numbers.inserted_window_dims]
    for axis, of_table in zip(numbers.update_window_dims, window, strict=True):
        ragged = is_ragged(seen.takes[0][of_table]) or is_ragged(seen.takes[2][axis])
        _refuse_unless(not ragged or seen.takes[0][of_table] == seen.takes[2][axis], seen)
    rows = [n for n in range(len(seen.takes[2])) if n not in numbers.update_window_dims]
    return seen.bound([seen.inputs[0], seen.inputs[1], seen.masked(2, rows, 0)])


def _windows(seen: Seen) -> list[Value]:
    """Pooling leaves an axis as it is along which its window is one element long."""
    plain = {
        "window_dimensions": 1,
        "window_strides": 1,
        "padding": (0, 0),
        "base_dilation": 1,
        "window_dilation": 1,
    }
    for shape in seen.takes:
        for axis, sizes in enumerate(shape):
            if is_ragged(sizes):
                for name, value in plain.items():
                    own = seen.parameters.get(name)
                    _refuse_unless(own is None or own[axis] == value, seen)
    return seen.bound()


def _sort(seen: Seen) -> list[Value]:
    axis = seen.parameters["dimension"]
    _refuse_unless(not is_ragged(seen.takes[0][axis]), seen)
    return seen.bound()


def _rev(seen: Seen) -> list[Value]:
    axes = seen.parameters["dimensions"]
    _refuse_unless(not any(is_ragged(seen.takes[0][axis]) for axis in axes), seen)
    return seen.bound()


def _flat_place(seen: Seen) -> Value:
    """The place of each element of the output in its variant's own flat array."""
    shape, room, graph = seen.gives[0], seen.room(), seen.graph
    sizes = [seen.number(axis) for axis in shape]

    def call(*sizes: Any) -> list[Any]:
        place = 0
        for axis, size in enumerate(sizes):
            place = place * size + jax.lax.broadcasted_iota("int32", room, axis)
        return [place]

    return graph.node(("flat place", room), call, sizes, [(room, np.dtype("int32"))])[0]


def _looked_up(seen: Seen, value: Value, shape: Shape, place: Value) -> Value:
    """The elements of an array of ragged ``shape`` at these places of its flat form."""
    graph, room = seen.graph, value.shape
    sizes = [seen.number(axis) for axis in shape]
    several = prod(room)

    def call(*inputs: Any) -> Any:
        *sizes, place, array = inputs
        at, step = 0, 1
        for size, most in zip(sizes[::-1], room[::-1], strict=True):
            at = at + (place % size) * step
            place, step = place // size, step * most
        return jnp.take(array.reshape(-1), jnp.clip(at, 0, several - 1))

    return graph.apply(call, ("looked up", room), *sizes, place, value, shape=place.shape)


_ELEMENTWISE = """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e
    bitcast_convert_type cbrt ceil clamp clz convert_element_type copy copy_p cos cosh digamma div
    eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igammac integer_pow is_finite le lgamma
    log log1p logistic lt max min mul ne neg nextafter not optimization_barrier or polygamma
    population_count pow reduce_precision regularized_incomplete_beta rem round rsqrt select_n
    shift_left shift_right_arithmetic shift_right_logical sign sin sinh sqrt square stop_gradient
    sub tan tanh xor zeta
"""
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    "reduce_sum": _reduction(0),
    "reduce_prod": _reduction(1),
    "reduce_max": _reduction("least"),
    "reduce_min": _reduction("most"),
    "reduce_or": _reduction(False),
    "reduce_and": _reduction(True),
    "argmax": _reduction("least"),
    "argmin": _reduction("most"),
    "cumsum": _cumulative(0),
    "cumprod": _cumulative(1),
    "cummax": _cumulative("least"),
    "cummin": _cumulative("most"),
    "dot_general": _dot_general,
    "conv_general_dilated": _convolution,
    "broadcast_in_dim": _broadcast,
    "iota": _iota,
    "transpose": _transpose,
    "squeeze": _transpose,
    "reshape": _reshape,
    "random_bits": _random_bits,
    "slice": _slice,
    "split": _split,
    "concatenate": _concatenate,
    "pad": _pad,
    "gather": _gather,
    "scatter-add": _scatter_add,
    "reduce_window_max": _windows,
    "reduce_window_min": _windows,
    "reduce_window_sum": _windows,
    "select_and_scatter_add": _windows,
    "select_and_gather_add": _windows,
    "sort": _sort,
    "rev": _rev,
}
