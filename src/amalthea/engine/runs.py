"""Several epochs as one program, for fits that nobody looks at in between.

A call of a program from Python costs more than an epoch of a small fit takes. So where no callback
wants to see each epoch, some dozens of them, each with its validation, are one call. The number of
epochs is an argument, and so is the number of batches where one step serves all of them: then one
program serves fits with more and with fewer rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .batching import ALONE, Batching, EpochRows, Lanes, Logs, OneStep
from .data import addresses, bytes_of_rows
from .effort import Effort
from .epochs import Orders, Tools
from .rows import Rows
from .run_shapes import RunShape
from .steps import Address, State
from .structures import Structure

_BYTES_OF_ROOM = 2**22  # of rows that are not there


class Run:
    """Trains a cohort for up to ``most`` epochs a call.

    Parameters
    ----------
    structure : Structure
    training : Side
    held : Side or None
        None where nothing is validated.
    state : State
        An example of what it will be called with.
    tools : Tools
    stacked : bool
        Whether the state has a first axis of lanes; else there is one lane.
    most : int
    common : frozenset of Address
        Arrays of the state that all lanes have in common: without that axis.
    """

    def __init__(
        self,
        structure: Structure,
        training: Side,
        held: Side | None,
        state: State,
        tools: Tools,
        *,
        stacked: bool,
        most: int,
        common: frozenset[Address] = frozenset(),
    ) -> None:
        lanes = len(training.rows) if stacked else 1
        own = training.shape(most, lanes, tools.effort, stacked, common)
        self._shape = shape = _shared_shape(structure, own, training, held, tools)
        self.most = most = shape.most
        self.one_order = shape.one_order
        self._training, self._lanes = training, () if self.one_order else (lanes,)
        self._train = structure.train
        self._fixed: tuple[Any, ...] = (
            *_on_device(training, shape, tools, stacked),
            self._train.counts(training.n_rows, training.sizes[0]),
        )
        if held and structure.test is not None:
            self._fixed += _of_validation(structure.test, held, tools, stacked)
        else:
            self._fixed += (None, None, (), ())
        in_lanes = Lanes(lanes, not self.one_order, common) if stacked else ALONE
        function = _epochs(structure, in_lanes, most)
        example = [[np.arange(len(rows)) for rows in self._of_orders(training.rows)]]
        key = ("run", stacked, most, structure.key, *sorted(common))
        self._program = tools.prepare(key, function, *self._arguments(state, example))
        if isinstance(structure.train, OneStep):
            tools.shapes.add(structure.key, shape)

    def __call__(self, state: State, orders: Sequence[Orders]) -> tuple[State, Logs, Logs]:
        """Train for one epoch with each of these orders, given for every lane or for all in one.

        Returns the state, and the logs of training and of validation: arrays with a first axis of
        ``most`` epochs, the second, where stacked, of lanes.
        """
        state, training, held = self._program.result()(*self._arguments(state, orders))
        return state, training, held

    @property
    def bytes(self) -> float:
        """Of what the program takes and gives, and of what it needs meanwhile."""
        try:
            memory = self._program.result().memory_analysis()
        except NotImplementedError:  # by this backend
            memory = None
        if memory is None:
            return 0.0
        return float(
            memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        )

    def _of_orders(self, lanes: Sequence[Any]) -> Sequence[Any]:
        return lanes[:1] if self.one_order else lanes

    def _arguments(self, state: State, orders: Sequence[Orders]) -> tuple[Any, ...]:
        """``orders`` as arrays of ``most`` epochs, the last of which may not be looked at."""
        sizes, room = self._of_orders(self._training.sizes), self._shape.n_batches
        cut: dict[tuple[int, int], tuple[np.ndarray, ...]] = {}  # fits of one seed share theirs
        parts = []
        for of_epoch in orders:
            for order, size in zip(of_epoch, sizes, strict=True):
                key = id(order), size
                if key not in cut:
                    cut[key] = self._train.cut(order, size, room)
                parts.append(cut[key])
        filled = tuple(_filled(group, self.most, self._lanes) for group in zip(*parts, strict=True))
        return state, np.int32(len(orders)), filled, *self._fixed


class Side:
    """The rows of each lane, all in as many batches, and the sizes of their batches."""

    def __init__(self, rows: Sequence[Rows], sizes: Sequence[int], one_order: bool = False) -> None:
        self.rows, self.sizes, self.one_order = rows, sizes, one_order

    @property
    def n_rows(self) -> int:
        return len(self.rows[0])

    def shape(
        self, most: int, lanes: int, effort: Effort, stacked: bool, common: frozenset[Address]
    ) -> RunShape:
        """Room for just these rows."""
        distinct = len({addresses(rows) for rows in self.rows})
        n_rows = max(map(len, self.rows))
        n_batches = -(-n_rows // self.sizes[0])
        one_order = self.one_order or not stacked
        rows = distinct, n_rows, n_batches
        return RunShape(lanes, most, *rows, one_order, effort, stacked, common)


def _shared_shape(
    structure: Structure, own: RunShape, training: Side, held: Side | None, tools: Tools
) -> RunShape:
    """Room as in a program that is there, or enough for some more rows."""
    if not isinstance(structure.train, OneStep) or held is not None:
        return own
    known = tools.shapes.with_room_for(structure.key, own)
    if known is not None:
        return known
    if bytes_of_rows(training.rows[0]) / 2 > _BYTES_OF_ROOM:
        return own
    more = own.n_rows + own.n_rows // 2  # all rows, where three folds share them
    return own.with_rows(more, -(-more // training.sizes[0]))


def _of_validation(test: Batching, held: Side, tools: Tools, stacked: bool) -> tuple[Any, ...]:
    """What a look at the rows to validate on takes: these, and how they are cut, in their order."""
    orders = [np.arange(len(rows)) for rows in held.rows]
    cut = [test.cut(o, size, 0) for o, size in zip(orders, held.sizes, strict=True)]
    parts = tuple(np.stack(group) for group in zip(*cut, strict=True)) if stacked else cut[0]
    counts = test.counts(held.n_rows, held.sizes[0])
    return (*_on_device(held, None, tools, stacked), parts, counts)


def _on_device(side: Side, shape: RunShape | None, tools: Tools, stacked: bool) -> tuple[Any, Any]:
    if not stacked:
        return tools.pool.on_device(side.rows[0], shape.n_rows if shape else None), None
    room = (shape.n_distinct, shape.n_rows) if shape else None
    return tools.pool.stacked(side.rows, room)


def _filled(parts: Sequence[np.ndarray], most: int, lanes: tuple[int, ...]) -> np.ndarray:
    """Arrays of one shape as one of shape (most, *lanes, *shape), zeros at the end."""
    shape = parts[0].shape
    filled = np.zeros((most * math.prod(lanes), *shape), parts[0].dtype)
    filled[: len(parts)] = parts
    return filled.reshape(most, *lanes, *shape)


def _epochs(structure: Structure, lanes: Lanes, most: int) -> Callable[..., Any]:
    """``n_epochs`` epochs, as a function of everything that differs between calls."""
    test, no_metrics = structure.test, structure.no_metrics
    epoch = _with_validation(structure, lanes)
    stacked = lanes.number is not None

    def begun(state: State) -> State:
        """With metrics that an epoch changes; in lanes it has them only meanwhile."""
        return state._replace(metrics=[] if stacked else no_metrics)

    def run(state: State, n_epochs: Any, parts: Any, *fixed: Any) -> tuple[State, Logs, Logs]:
        def another(number: Any, carry: Any) -> Any:
            state, *logs = carry
            state, *new = epoch(state, jax.tree.map(lambda part: part[number], parts), *fixed)
            state = state._replace(metrics=[] if stacked else state.metrics)
            return state, *jax.tree.map(lambda all, one: all.at[number].set(one), logs, new)

        logs = [_room(steps, lanes, most) for steps in (structure.train, test)]
        result: tuple[State, Logs, Logs] = jax.lax.fori_loop(
            0, n_epochs, another, (begun(state), *logs)
        )
        return result

    return run


def _with_validation(structure: Structure, lanes: Lanes) -> Callable[..., Any]:
    """One epoch, and a look at the rows to validate on."""
    train, test = structure.train, structure.test

    def epoch(
        state: State,
        parts: Any,
        data: Any,
        which: Any,
        counts: Any,
        held: Any,
        which_held: Any,
        held_parts: Any,
        held_counts: Any,
    ) -> tuple[State, Logs, Logs]:
        state = state._replace(metrics=structure.no_metrics)
        state, logs, _ = train.epoch(state, EpochRows(data, which, parts, counts), lanes)
        if test is None:
            return state, logs, {}
        state = state._replace(metrics=structure.no_metrics)
        looked_at = EpochRows(held, which_held, held_parts, held_counts)
        state, of_held, _ = test.epoch(state, looked_at, replace(lanes, own_orders=True))
        return state, logs, of_held

    return epoch


def _room(steps: Batching | None, lanes: Lanes, most: int) -> Logs:
    """For the logs of so many epochs."""
    if steps is None:
        return {}
    logs = {name: lanes.room(one) for name, one in steps.logs_like.items()}
    return {name: jnp.zeros((most, *one.shape), one.dtype) for name, one in logs.items()}
