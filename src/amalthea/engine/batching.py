"""How an epoch goes through its rows: whole batches, and a short last one.

A short batch is a step of its own shape, as in Keras's own ``fit`` (:class:`Steps`), or the same
step with the rows that it lacks left out (:class:`OneStep`). The loop over the batches is the same
for one fit and for many: it is the steps in it that are done for many at once (:class:`Lanes`).
A loop that were itself mapped over fits would be traced several times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from .primitives import many_at_once
from .programs import TracedStep
from .rows import map_arrays
from .steps import Address, State
from .work import Work

Logs = dict[str, Any]


@dataclass(frozen=True)
class Lanes:
    """One fit, or many in lanes: then their states have a first axis, of ``number`` fits.

    ``own_orders``: each has an order of its own, and the cut orders have that axis too. Data and
    counts do not have it, nor have the metrics that an epoch begins with, and ``common`` arrays of
    the state, which are and stay the same for all.
    """

    number: int | None = None
    own_orders: bool = True
    common: frozenset[Address] = frozenset()

    def each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A step of one fit (its state, which rows are its, a batch) as one of all."""
        if self.number is None:
            return function

        def of_all(state: State, which: Any, batch: Any) -> Any:
            axes, orders = self._axes(state), 0 if self.own_orders else None
            mapped = jax.vmap(function, in_axes=(axes, 0, orders), out_axes=(axes, 0))
            with many_at_once():
                return mapped(state, which, batch)

        return of_all

    def room(self, like: Any) -> Any:
        """Zeros like these of one fit."""
        shape = (*self._first, *like.shape)
        return jnp.zeros(shape, like.dtype)

    def begun(self, state: State) -> State:
        """The state at the beginning of an epoch, with metrics for each fit."""
        metrics = [jnp.broadcast_to(one, (*self._first, *one.shape)) for one in state.metrics]
        return state._replace(metrics=metrics)

    def batch_by_batch(self, parts: Any) -> Any:
        """Cut orders with the batches on the first axis."""
        has_lanes = self.number is not None and self.own_orders
        return jnp.moveaxis(parts, 1, 0) if has_lanes else parts

    def fit_by_fit(self, losses: Any) -> Any:
        """Losses, which have the batches on their first axis, with it behind that of fits."""
        return losses if self.number is None else jnp.moveaxis(losses, 0, 1)

    def _axes(self, state: State) -> State:
        def of(name: str) -> Any:
            numbers = range(len(getattr(state, name)))
            return [None if (name, number) in self.common else 0 for number in numbers]

        zero: Any = 0
        return State(zero, of("non_trainable"), of("optimizer"), zero, zero)

    @property
    def _first(self) -> tuple[int, ...]:
        return () if self.number is None else (self.number,)


@dataclass(frozen=True)
class EpochRows:
    """What an epoch goes through.

    ``which`` of the stacked arrays in ``data`` are this fit's; None where they are not stacked.
    ``parts`` are its order, cut, and ``counts`` the same in each epoch.
    """

    data: Any
    which: Any
    parts: Sequence[Any]
    counts: Sequence[Any]


ALONE = Lanes()


class Batching(Protocol):
    """One epoch, as a function of the rows of each batch.

    ``cut`` makes arrays of an epoch's order, with room for so many batches; ``counts`` are the same
    in each epoch, and equal for all fits of a program.
    """

    @property
    def key(self) -> tuple[str | None, ...]: ...

    @property
    def logs_like(self) -> Logs:
        """Shapes and types of the logs of a step."""
        ...

    @property
    def operations(self) -> float:
        """How many there are in the program, whose loops do not count."""
        ...

    @property
    def by_themselves(self) -> frozenset[Address]:
        """Arrays of the state that change in a way of their own, where that is known."""
        ...

    def work(self, n_rows: int, size: int) -> Work:
        """The work of one epoch."""
        ...

    def cut(self, order: np.ndarray, size: int, room: int) -> tuple[np.ndarray, ...]: ...

    def counts(self, n_rows: int, size: int) -> tuple[Any, ...]: ...

    def epoch(self, state: State, rows: EpochRows, lanes: Lanes = ALONE) -> tuple[State, Logs, Any]:
        """The state after it, the logs of the last batch, and the loss after each."""
        ...


@dataclass(frozen=True, eq=False)
class Steps:
    """One step on a whole batch, and one on the short last batch; None where there is no such."""

    whole: TracedStep | None
    rest: TracedStep | None

    @property
    def all(self) -> list[TracedStep]:
        return [step for step in (self.whole, self.rest) if step is not None]

    @property
    def key(self) -> tuple[str | None, ...]:
        return tuple(step.key if step else None for step in (self.whole, self.rest))

    @property
    def logs_like(self) -> Logs:
        logs: Logs = self.all[-1].result_like[1]
        return logs

    @property
    def operations(self) -> float:
        return sum(step.work.operations for step in self.all)

    @property
    def by_themselves(self) -> frozenset[Address]:
        return frozenset()

    def work(self, n_rows: int, size: int) -> Work:
        whole = self.whole.work.times(n_rows // size) if self.whole else Work()
        return whole + (self.rest.work if self.rest else Work())

    def cut(self, order: np.ndarray, size: int, room: int = 0) -> tuple[np.ndarray, ...]:
        """Row numbers as whole batches, shape (n_batches, size), and the short last batch."""
        order = order.astype("int32")
        whole = len(order) // size * size
        return order[:whole].reshape(-1, size), order[whole:]

    def counts(self, n_rows: int, size: int) -> tuple[Any, ...]:
        return ()

    def epoch(self, state: State, rows: EpochRows, lanes: Lanes = ALONE) -> tuple[State, Logs, Any]:
        batches, rest = rows.parts
        logs: Logs = {}
        losses = []

        def on_rows(step: TracedStep) -> Callable[..., Any]:
            def one(state: State, which: Any, batch: Any) -> Any:
                return step(state, _batch(rows.data, which, batch))

            of_all = lanes.each(one)
            return lambda state, batch: of_all(state, rows.which, batch)

        state = lanes.begun(state)
        if self.whole is not None:
            state, every = jax.lax.scan(on_rows(self.whole), state, lanes.batch_by_batch(batches))
            logs = {name: values[-1] for name, values in every.items()}
            losses.append(every["loss"])
        if self.rest is not None:
            state, logs = on_rows(self.rest)(state, rest)
            losses.append(logs["loss"][None])
        return state, logs, lanes.fit_by_fit(jnp.concatenate(losses))


@dataclass(frozen=True, eq=False)
class OneStep:
    """One step on every batch, told what it is to do by the first or the second of its settings.

    The settings of a state hold those for whole batches and then those for the last one, from
    ``first`` on, ``several`` each. Batches have the same ``size`` for all fits, and a fit leaves
    out the rows that its own batches do not have.
    """

    step: TracedStep
    size: int
    first: int
    several: int

    @property
    def key(self) -> tuple[str | None, ...]:
        return (self.step.key,)

    @property
    def logs_like(self) -> Logs:
        logs: Logs = self.step.result_like[1]
        return logs

    @property
    def operations(self) -> float:
        return self.step.work.operations

    @property
    def by_themselves(self) -> frozenset[Address]:
        return self.step.by_themselves

    def work(self, n_rows: int, size: int) -> Work:
        return self.step.work.times(-(-n_rows // size))

    def cut(self, order: np.ndarray, size: int, room: int = 0) -> tuple[np.ndarray, ...]:
        """Row numbers, shape (room, self.size); those that are not there are 0."""
        n_batches, size = -(-len(order) // size), min(size, self.size)
        padded = np.zeros(n_batches * size, "int32")
        padded[: len(order)] = order
        rows = np.zeros((max(room, n_batches), self.size), "int32")
        rows[:n_batches, :size] = padded.reshape(n_batches, size)
        return (rows,)

    def counts(self, n_rows: int, size: int) -> tuple[Any, ...]:
        return (np.int32(-(-n_rows // size)),)

    def epoch(self, state: State, rows: EpochRows, lanes: Lanes = ALONE) -> tuple[State, Logs, Any]:
        (order,), (n_batches,), settings = rows.parts, rows.counts, state.settings
        batches = lanes.batch_by_batch(order)
        end = self.first + self.several
        for_whole, for_last = settings[self.first : end], settings[end : end + self.several]

        def one(state: State, which: Any, batch: Any) -> Any:
            state, logs = self.step(state, _batch(rows.data, which, batch))
            return replace_settings(state, ()), logs

        of_all = lanes.each(one)

        def another(number: Any, carry: Any) -> Any:
            state, _, losses = carry
            is_last = number == n_batches - 1
            told = [jnp.where(is_last, b, a) for a, b in zip(for_whole, for_last, strict=True)]
            state, logs = of_all(replace_settings(state, told), rows.which, batches[number])
            return state, logs, losses.at[number].set(logs["loss"])

        logs = {name: lanes.room(one) for name, one in self.logs_like.items()}
        losses = jnp.zeros((batches.shape[0], *logs["loss"].shape), logs["loss"].dtype)
        carry = (lanes.begun(replace_settings(state, ())), logs, losses)
        state, logs, losses = jax.lax.fori_loop(0, n_batches, another, carry)
        return replace_settings(state, settings), logs, lanes.fit_by_fit(losses)


def replace_settings(state: State, settings: Sequence[Any]) -> State:
    return state._replace(settings=settings)


def _batch(data: Any, which: Any, batch: Any) -> Any:
    at = batch if which is None else (which, batch)
    return map_arrays(lambda array: array[at], data)
