"""One epoch as a program, in three forms.

``stacked``
    All fits of a cohort in one loop on the device, whose steps are mapped over their states.
``loop``
    One fit, in one loop on the device.
``steps``
    One fit; compiled steps are called from the host, batch by batch, on rows taken there.

A short last batch is a step of its own shape, as in Keras's own ``fit``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from .batching import ALONE, Batching, EpochRows, Lanes, Logs, Steps
from .data import Pool
from .effort import Effort
from .programs import Programs
from .reached import Reached
from .rows import Rows
from .run_shapes import RunShapes
from .steps import State

STEPS_AHEAD = 4  # of those that are called from the host: each holds its batch until it is done

Orders = Sequence[np.ndarray]  # the rows of an epoch, for each fit


class Abandoned(Exception):
    """Nobody wants to know the end of the epoch any more."""


class Epoch(Protocol):
    """Takes the rows of each fit in its order, batch by batch.

    Returns the state, the logs of the last batch, and the loss after each batch. What was given as
    arrays of JAX may be gone then.
    """

    def __call__(self, state: State, orders: Orders) -> tuple[State, Logs, Any]: ...


@dataclass(frozen=True)
class Tools:
    """What epochs are made with: what fits share, the way to compile, and who tells when to end."""

    programs: Programs
    shapes: RunShapes
    pool: Pool
    reached: Reached
    effort: Effort = Effort.FULL
    compiling: Executor | None = None
    is_stopped: Callable[[], bool] = lambda: False

    def prepare(
        self, key: Any, function: Callable[..., Any], *arguments: Any, consumes: bool = False
    ) -> Future[Any]:
        return self.programs.prepare(
            key, function, *arguments, effort=self.effort, pool=self.compiling, consumes=consumes
        )


def stacked_epoch(
    batching: Batching, rows: Sequence[Rows], sizes: Sequence[int], state: State, tools: Tools
) -> Epoch:
    """``state`` and results have a first axis of fits; the metrics in ``state`` have none."""
    data, which = tools.pool.stacked(rows)
    counts = batching.counts(len(rows[0]), sizes[0])
    function = _of_arrays(batching, Lanes(len(rows)))

    def arguments(state: State, orders: Orders) -> tuple[Any, ...]:
        asked = list(zip(map(id, orders), sizes, strict=True))
        distinct = dict(zip(asked, orders, strict=True))  # fits of one seed share theirs
        place = {key: n for n, key in enumerate(distinct)}
        fits = [place[key] for key in asked]
        cut = [batching.cut(order, size, 0) for (_, size), order in distinct.items()]
        parts = tuple(np.stack(group)[fits] for group in zip(*cut, strict=True))
        return state, data, which, parts, counts

    example = arguments(state, [np.arange(len(part)) for part in rows])
    program = tools.prepare(("stacked", *batching.key), function, *example)

    def epoch(state: State, orders: Orders) -> tuple[State, Logs, Any]:
        result: tuple[State, Logs, Any] = program.result()(*arguments(state, orders))
        return result

    return epoch


def loop_epoch(
    batching: Batching, rows: Sequence[Rows], sizes: Sequence[int], state: State, tools: Tools
) -> Epoch:
    (only,), (size,) = rows, sizes
    data, counts = tools.pool.on_device(only), batching.counts(len(only), size)

    def arguments(state: State, order: np.ndarray) -> tuple[Any, ...]:
        return state, data, None, batching.cut(order, size, 0), counts

    example = arguments(state, np.arange(len(only)))
    function = _of_arrays(batching, ALONE)
    program = tools.prepare(("loop", *batching.key), function, *example, consumes=True)

    def epoch(state: State, orders: Orders) -> tuple[State, Logs, Any]:
        result: tuple[State, Logs, Any] = program.result()(*arguments(state, orders[0]))
        return result

    return epoch


def _of_arrays(batching: Batching, lanes: Lanes) -> Callable[..., Any]:
    """An epoch as a function of what a program takes."""

    def epoch(state: State, *arrays: Any) -> tuple[State, Logs, Any]:
        return batching.epoch(state, EpochRows(*arrays), lanes)

    return epoch


def host_epoch(
    batching: Batching, rows: Sequence[Rows], sizes: Sequence[int], state: State, tools: Tools
) -> Epoch:
    assert isinstance(batching, Steps)
    (only,), (batch_size,), steps = rows, sizes, batching
    by_size: dict[int, Future[Any]] = {}
    for step, n_rows in ((steps.whole, batch_size), (steps.rest, len(only) % batch_size)):
        if step is not None:
            batch = only.take(np.arange(n_rows))
            by_size[n_rows] = tools.prepare(("steps", step.key), step, state, batch, consumes=True)

    def epoch(state: State, orders: Orders) -> tuple[State, Logs, Any]:
        logs: Logs = {}
        losses = []
        for start in range(0, len(orders[0]), batch_size):
            if tools.is_stopped():  # an epoch may take minutes
                raise Abandoned
            rows = orders[0][start : start + batch_size]
            state, logs = by_size[len(rows)].result()(state, only.take(rows))
            losses.append(logs["loss"])
            if len(losses) > STEPS_AHEAD:
                jax.block_until_ready(losses[-1 - STEPS_AHEAD])
        return state, logs, losses

    return epoch


FORMS: dict[str, Callable[..., Epoch]] = {
    "stacked": stacked_epoch,
    "loop": loop_epoch,
    "steps": host_epoch,
}
