"""How an epoch goes through its rows: whole batches, and a short last one.

A short batch is a step of its own shape, as in Keras's own ``fit`` (:class:`Steps`), or the same
step with the rows that it lacks left out (:class:`OneStep`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from .programs import TracedStep
from .rows import map_arrays
from .steps import State
from .work import Work

Logs = dict[str, Any]


class Batching(Protocol):
    """One epoch of one fit, as a function of the rows of each batch.

    ``cut`` makes arrays of an epoch's order, with room for so many batches; ``counts`` are the same
    in each epoch, and equal for all fits of a program. ``axes`` tells ``jax.vmap`` which have a
    first axis of fits, where orders have it.
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

    def work(self, n_rows: int, size: int) -> Work:
        """The work of one epoch."""
        ...

    def cut(self, order: np.ndarray, size: int, room: int) -> tuple[np.ndarray, ...]: ...

    def counts(self, n_rows: int, size: int) -> tuple[Any, ...]: ...

    def axes(self, own: Any) -> tuple[Any, Any]: ...

    def epoch(
        self, state: State, which: Any, parts: Sequence[Any], counts: Sequence[Any], data: Any
    ) -> tuple[State, Logs, Any]:
        """The state after it, the logs of the last batch, and the loss after each.

        ``which`` of the stacked arrays in ``data`` are this fit's; None where they are not stacked.
        """
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

    def axes(self, own: Any) -> tuple[Any, Any]:
        return (own, own), ()

    def epoch(
        self, state: State, which: Any, parts: Sequence[Any], counts: Sequence[Any], data: Any
    ) -> tuple[State, Logs, Any]:
        batches, rest = parts
        logs: Logs = {}
        losses = []
        if self.whole is not None:
            whole = self.whole
            state, every = jax.lax.scan(
                lambda s, rows: whole(s, _batch(data, which, rows)), state, batches
            )
            logs = {name: values[-1] for name, values in every.items()}
            losses.append(every["loss"])
        if self.rest is not None:
            state, logs = self.rest(state, _batch(data, which, rest))
            losses.append(logs["loss"][None])
        return state, logs, jnp.concatenate(losses)


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

    def axes(self, own: Any) -> tuple[Any, Any]:
        return (own,), (None,)

    def epoch(
        self, state: State, which: Any, parts: Sequence[Any], counts: Sequence[Any], data: Any
    ) -> tuple[State, Logs, Any]:
        (rows,), (n_batches,), settings = parts, counts, state.settings
        end = self.first + self.several
        for_whole, for_last = settings[self.first : end], settings[end : end + self.several]

        def another(number: Any, carry: Any) -> Any:
            state, _, losses = carry
            is_last = number == n_batches - 1
            told = [jnp.where(is_last, b, a) for a, b in zip(for_whole, for_last, strict=True)]
            batch = _batch(data, which, rows[number])
            state, logs = self.step(replace_settings(state, told), batch)
            return replace_settings(state, ()), logs, losses.at[number].set(logs["loss"])

        logs = {name: jnp.zeros(one.shape, one.dtype) for name, one in self.logs_like.items()}
        losses = jnp.zeros((rows.shape[0],), logs["loss"].dtype)
        carry = (replace_settings(state, ()), logs, losses)
        state, logs, losses = jax.lax.fori_loop(0, n_batches, another, carry)
        return replace_settings(state, settings), logs, losses


def replace_settings(state: State, settings: Sequence[Any]) -> State:
    return state._replace(settings=settings)


def _batch(data: Any, which: Any, rows: Any) -> Any:
    at = rows if which is None else (which, rows)
    return map_arrays(lambda array: array[at], data)
