"""One epoch as a program, in three forms.

``stacked``
    All fits of a cohort in one loop on the device: ``jax.vmap`` over their states.
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

from .data import Pool
from .programs import Effort, Programs
from .rows import Rows, map_arrays
from .steps import State
from .structures import Steps

Logs = dict[str, Any]
Orders = Sequence[np.ndarray]  # the rows of an epoch, for each fit


class Epoch(Protocol):
    """Takes the rows of each fit in its order, batch by batch.

    Returns the state, the logs of the last batch, and the loss after each batch.
    """

    def __call__(self, state: State, orders: Orders) -> tuple[State, Logs, Any]: ...


@dataclass(frozen=True)
class Tools:
    """What epochs are made with: programs and arrays to share, and the way to compile."""

    programs: Programs
    pool: Pool
    effort: Effort = Effort.FULL
    compiling: Executor | None = None

    def prepare(self, key: Any, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self.programs.prepare(
            key, function, *arguments, effort=self.effort, pool=self.compiling
        )


def stacked_epoch(
    steps: Steps, rows: Sequence[Rows], batch_size: int, state: State, tools: Tools
) -> Epoch:
    """``state`` and results have a first axis of fits; the metrics in ``state`` have none."""
    data, which = tools.pool.stacked(rows)
    axes: Any = (State(0, 0, 0, None, 0), 0, 0, 0, None)  # type: ignore[arg-type]
    function = jax.vmap(scanned(steps), in_axes=axes)

    def arguments(state: State, orders: Orders) -> tuple[Any, ...]:
        distinct = {id(order): order for order in orders}  # fits of one seed share theirs
        place = {address: n for n, address in enumerate(distinct)}
        fits = [place[id(order)] for order in orders]
        parts = [cut(order, batch_size) for order in distinct.values()]
        return state, which, *(np.stack(group)[fits] for group in zip(*parts, strict=True)), data

    example = arguments(state, [np.arange(len(part)) for part in rows])
    program = tools.prepare(("stacked", *steps.key), function, *example)

    def epoch(state: State, orders: Orders) -> tuple[State, Logs, Any]:
        result: tuple[State, Logs, Any] = program.result()(*arguments(state, orders))
        return result

    return epoch


def loop_epoch(
    steps: Steps, rows: Sequence[Rows], batch_size: int, state: State, tools: Tools
) -> Epoch:
    (only,) = rows
    data = tools.pool.on_device(only)
    example = cut(np.arange(len(only)), batch_size)
    program = tools.prepare(("loop", *steps.key), scanned(steps), state, None, *example, data)

    def epoch(state: State, orders: Orders) -> tuple[State, Logs, Any]:
        result: tuple[State, Logs, Any] = program.result()(
            state, None, *cut(orders[0], batch_size), data
        )
        return result

    return epoch


def host_epoch(
    steps: Steps, rows: Sequence[Rows], batch_size: int, state: State, tools: Tools
) -> Epoch:
    (only,) = rows
    by_size: dict[int, Future[Any]] = {}
    for step, n_rows in ((steps.whole, batch_size), (steps.rest, len(only) % batch_size)):
        if step is not None:
            batch = only.take(np.arange(n_rows))
            by_size[n_rows] = tools.prepare(("steps", step.key), step, state, batch)

    def epoch(state: State, orders: Orders) -> tuple[State, Logs, Any]:
        logs: Logs = {}
        losses = []
        for start in range(0, len(orders[0]), batch_size):
            rows = orders[0][start : start + batch_size]
            state, logs = by_size[len(rows)].result()(state, only.take(rows))
            losses.append(logs["loss"])
        return state, logs, losses

    return epoch


FORMS: dict[str, Callable[..., Epoch]] = {
    "stacked": stacked_epoch,
    "loop": loop_epoch,
    "steps": host_epoch,
}


def scanned(steps: Steps) -> Callable[..., Any]:
    """An epoch of one fit as a function; ``which`` of the stacked arrays are its rows."""

    def epoch(state: State, which: Any, batches: Any, rest: Any, data: Any) -> Any:
        def batch(rows: Any) -> Any:
            at = rows if which is None else (which, rows)
            return map_arrays(lambda array: array[at], data)

        logs: Logs = {}
        losses = []
        if steps.whole is not None:
            whole = steps.whole
            state, every = jax.lax.scan(lambda s, rows: whole(s, batch(rows)), state, batches)
            logs = {name: values[-1] for name, values in every.items()}
            losses.append(every["loss"])
        if steps.rest is not None:
            state, logs = steps.rest(state, batch(rest))
            losses.append(logs["loss"][None])
        return state, logs, jax.numpy.concatenate(losses)

    return epoch


def cut(order: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers as whole batches, shape (n_batches, batch_size), and the short last batch."""
    order = order.astype("int32")
    whole = len(order) // batch_size * batch_size
    return order[:whole].reshape(-1, batch_size), order[whole:]
