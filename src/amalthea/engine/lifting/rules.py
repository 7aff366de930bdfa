"""What each primitive needs so that nothing behind the end of an axis reaches what is before it.

An axis is *ragged* where its size differs between variants. Elementwise operations leave every
element where it is, and need nothing. What adds up, compares or multiplies along a ragged axis gets
an input in which everything behind the end is neutral: zero for a sum. What moves elements about is
written as looking each one up at its place (:mod:`.moves`). A primitive that is
not here, or one that does to a ragged axis what is not foreseen, is not woven.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from . import moves
from .flat import NotWoven
from .folding import without_computing
from .graph import Value
from .seen import Seen, is_ragged, refuse_unless

Rule = Callable[[Seen], list[Value]]


def written(seen: Seen) -> list[Value]:
    """The results of an equation for all variants."""
    known = without_computing(seen)
    if known is not None:
        return known
    rule = _RULES.get(seen.name)
    ragged = any(is_ragged(sizes) for shape in (*seen.takes, *seen.gives) for sizes in shape)
    if not ragged and seen.alike:
        return seen.bound()
    if rule is None or _holds_keys(seen):
        raise NotWoven(f"{seen.name} along an axis of several sizes")
    return rule(seen)


def _holds_keys(seen: Seen) -> bool:
    """Whether an array of several sizes holds keys of random bits, which have no neutral value."""
    equation = seen.equations[0]
    arrays = zip((*equation.takes, *equation.gives), (*seen.takes, *seen.gives), strict=True)
    return any(
        jax.dtypes.issubdtype(array.dtype, jax.dtypes.extended) and any(map(is_ragged, shape))
        for array, shape in arrays
    )


def _elementwise(seen: Seen) -> list[Value]:
    """Inputs are scalars, or have the shape of the output, or one element along an axis."""
    for shape in seen.takes:
        if shape:
            refuse_unless(len(shape) == len(seen.gives[0]), seen)
            for sizes, out in zip(shape, seen.gives[0], strict=True):
                refuse_unless(sizes == out or set(sizes) == {1}, seen)
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
        refuse_unless(not any(is_ragged(seen.takes[number][axis]) for axis in axes), seen)
    groups = seen.parameters["feature_group_count"], seen.parameters["batch_group_count"]
    refuse_unless(groups == (1, 1), seen)
    return seen.bound([seen.masked(0, [features], 0), seen.masked(1, [features_in], 0)])


def _broadcast(seen: Seen) -> list[Value]:
    for sizes, axis in zip(seen.takes[0], seen.parameters["broadcast_dimensions"], strict=True):
        refuse_unless(sizes == seen.gives[0][axis] or set(sizes) == {1}, seen)
    return seen.bound(shape=seen.room())


def _iota(seen: Seen) -> list[Value]:
    return seen.bound(shape=seen.room())


def _transpose(seen: Seen) -> list[Value]:
    return seen.bound()


def _gather(seen: Seen) -> list[Value]:
    """Whole rows of a table: its other axes may be ragged, and those of the indices."""
    numbers = seen.parameters["dimension_numbers"]
    sizes = seen.every("slice_sizes")
    looked_up = {*numbers.start_index_map, *numbers.collapsed_slice_dims}
    refuse_unless(not numbers.operand_batching_dims, seen)
    refuse_unless(not is_ragged(seen.takes[1][-1]), seen)
    for axis, of_table in enumerate(seen.takes[0]):
        own = tuple(one[axis] for one in sizes)
        refuse_unless(not is_ragged(of_table) if axis in looked_up else own == of_table, seen)
        refuse_unless(axis not in looked_up or not is_ragged(own), seen)
    return seen.bound(
        slice_sizes=tuple(max(one[axis] for one in sizes) for axis in range(len(sizes[0])))
    )


def _scatter_add(seen: Seen) -> list[Value]:
    """Whole rows added to a table; rows that are not there add zero."""
    numbers = seen.parameters["dimension_numbers"]
    refuse_unless(not numbers.operand_batching_dims, seen)
    refuse_unless(not is_ragged(seen.takes[1][-1]), seen)
    for axis in (*numbers.scatter_dims_to_operand_dims, *numbers.inserted_window_dims):
        refuse_unless(not is_ragged(seen.takes[0][axis]), seen)
    window = [n for n in range(len(seen.takes[0])) if n not in numbers.inserted_window_dims]
    for axis, of_table in zip(numbers.update_window_dims, window, strict=True):
        ragged = is_ragged(seen.takes[0][of_table]) or is_ragged(seen.takes[2][axis])
        refuse_unless(not ragged or seen.takes[0][of_table] == seen.takes[2][axis], seen)
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
                    refuse_unless(own is None or own[axis] == value, seen)
    return seen.bound()


def _sort(seen: Seen) -> list[Value]:
    axis = seen.parameters["dimension"]
    refuse_unless(not is_ragged(seen.takes[0][axis]), seen)
    return seen.bound()


def _rev(seen: Seen) -> list[Value]:
    axes = seen.parameters["dimensions"]
    refuse_unless(not any(is_ragged(seen.takes[0][axis]) for axis in axes), seen)
    return seen.bound()


_ELEMENTWISE = """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e
    bitcast_convert_type cbrt ceil clamp clz convert_element_type copy copy_p cos cosh digamma
    div eq erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igammac integer_pow is_finite le
    lgamma log log1p log2 logistic lt max min mul ne neg nextafter not one_minus_square
    optimization_barrier or polygamma polynomial population_count pow reduce_precision
    regularized_incomplete_beta rem round rsqrt select_n shift_left shift_right_arithmetic
    shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor zeta
"""
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    "reduce_sum": _reduction(0),
    "reduce_prod": _reduction(1),
    "reduce_max": _reduction("least"),
    "reduce_min": _reduction("most"),
    "reduce_or": _reduction(False),
    "reduce_and": _reduction("all bits"),
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
    "reshape": moves.reshape,
    "random_bits": moves.random_bits,
    "slice": moves.slices,
    "split": moves.split,
    "concatenate": moves.concatenate,
    "pad": moves.pad,
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
