"""Rules for what moves elements about: each is looked up at its place, which sizes tell."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .graph import Value
from .seen import Seen, Shape, is_ragged, refuse_unless


def reshape(seen: Seen) -> list[Value]:
    """One that does more along axes of several sizes than to add or leave out ones."""
    return [_looked_up(seen, seen.inputs[0], seen.takes[0], _flat_place(seen))]


def random_bits(seen: Seen) -> list[Value]:
    """The bits of an element depend on the key and on its place in the flat array alone.

    That is so with JAX's partitionable generator.
    """
    config: Any = jax.config
    one_key = not seen.takes[0]
    refuse_unless(one_key and bool(config.jax_threefry_partitionable), seen)
    if not any(is_ragged(sizes) for sizes in seen.gives[0][1:]):
        return seen.bound(shape=seen.room())
    several = (prod(seen.room()),)
    equation = seen.equations[0]
    parameters = {**equation.parameters, "shape": several}
    key = ("random_bits", str(parameters))
    flat = seen.graph.node(
        key,
        lambda *arrays: equation.operation.bind(parameters, arrays, may_differ=True),
        seen.inputs,
        [(several, equation.gives[0].dtype)],
    )[0]
    sizes: Shape = (tuple(prod(equation.gives[0].shape) for equation in seen.equations),)
    return [_looked_up(seen, flat, sizes, _flat_place(seen))]


def slices(seen: Seen) -> list[Value]:
    starts, limits = seen.every("start_indices"), seen.every("limit_indices")
    strides = seen.parameters["strides"] or (1,) * len(starts[0])
    value, shape = seen.inputs[0], seen.takes[0]
    for axis, stride in enumerate(strides):
        from_, to = ([one[axis] for one in some] for some in (starts, limits))
        whole = stride == 1 and set(from_) == {0} and tuple(to) == shape[axis]
        if not whole:
            value = _taken(seen, value, axis, from_, stride, max(seen.gives[0][axis]))
    return [value]


def split(seen: Seen) -> list[Value]:
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


def concatenate(seen: Seen) -> list[Value]:
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


def pad(seen: Seen) -> list[Value]:
    """Shifted to where each variant wants it, with the padding value everywhere else."""
    value, padding = seen.inputs
    graph, configs = seen.graph, seen.every("padding_config")
    for axis, sizes in enumerate(seen.takes[0]):
        low, high, inner = ([config[axis][n] for config in configs] for n in range(3))
        if set(low) == set(high) == set(inner) == {0}:
            continue
        refuse_unless(set(inner) == {0} and min(*low, *high, 0) == 0, seen)
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
