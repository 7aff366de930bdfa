"""Several epochs as one program, for fits that nobody looks at in between.

A call of a program from Python costs more than an epoch of a small fit takes. So where no callback
wants to see each epoch, some dozens of them, each with its validation, are one call. The number of
epochs is an argument: one program serves whatever is left to train.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .epochs import Logs, Orders, Tools, cut, scanned
from .rows import Rows
from .steps import State
from .structures import Structure


class Run:
    """Trains a cohort for up to ``most`` epochs a call.

    Parameters
    ----------
    structure : Structure
    training, held : sequence of Rows
        For each lane; ``held`` is empty where nothing is validated.
    batch_sizes : tuple of two int
        For training and for validation.
    state : State
        An example of what it will be called with.
    tools : Tools
    stacked : bool
        Whether the state has a first axis of lanes; else there is one lane.
    one_order : bool
        Whether all lanes take their rows in the same order.
    most : int
    """

    def __init__(
        self,
        structure: Structure,
        training: Sequence[Rows],
        held: Sequence[Rows],
        batch_sizes: tuple[int, int],
        state: State,
        tools: Tools,
        *,
        stacked: bool,
        one_order: bool,
        most: int,
    ) -> None:
        self.most = most
        self._batch_size, self.one_order = batch_sizes[0], one_order or not stacked
        place = tools.pool.stacked if stacked else _lone(tools)
        self._fixed: tuple[Any, ...] = (*place(training), None, None, None)
        if held:
            rows = cut(np.arange(len(held[0])), batch_sizes[1])
            self._fixed = (*place(training), *place(held), rows)
        function = _epochs(structure, stacked=stacked, one_order=self.one_order, most=most)
        example = [[np.arange(len(rows)) for rows in training[: 1 if self.one_order else None]]]
        key = ("run", stacked, most, structure.key)
        self._program = tools.prepare(key, function, *self._arguments(state, example))

    def __call__(self, state: State, orders: Sequence[Orders]) -> tuple[State, Logs, Logs]:
        """Train for one epoch with each of these orders, given for every lane or for all in one.

        Returns the state, and the logs of training and of validation: arrays with a first axis of
        ``most`` epochs, the second, where stacked, of lanes.
        """
        state, training, held = self._program.result()(*self._arguments(state, orders))
        return state, training, held

    def _arguments(self, state: State, orders: Sequence[Orders]) -> tuple[Any, ...]:
        """``orders`` as arrays of ``most`` epochs, the last of which may not be looked at."""
        parts = [cut(order, self._batch_size) for of_epoch in orders for order in of_epoch]
        lanes = () if self.one_order else (len(orders[0]),)
        batches, rests = (_filled(group, self.most, lanes) for group in zip(*parts, strict=True))
        return state, np.int32(len(orders)), batches, rests, *self._fixed


def _lone(tools: Tools) -> Callable[[Sequence[Rows]], tuple[Any, None]]:
    return lambda rows: (tools.pool.on_device(rows[0]), None)


def _filled(parts: Sequence[np.ndarray], most: int, lanes: tuple[int, ...]) -> np.ndarray:
    """Arrays of one shape as one of shape (most, *lanes, *shape), zeros at the end."""
    shape = parts[0].shape
    filled = np.zeros((most * math.prod(lanes), *shape), parts[0].dtype)
    filled[: len(parts)] = parts
    return filled.reshape(most, *lanes, *shape)


def _epochs(
    structure: Structure, *, stacked: bool, one_order: bool, most: int
) -> Callable[..., Any]:
    """``n_epochs`` epochs, as a function of everything that differs between calls."""
    test = structure.test
    epoch = _with_validation(structure)
    if stacked:
        own: Any = None if one_order else 0
        states: Any = State(0, 0, 0, None, 0)  # type: ignore[arg-type]
        epoch = jax.vmap(epoch, in_axes=(states, own, own, None, 0, None, 0, None))

    def run(
        state: State, n_epochs: Any, batches: Any, rests: Any, *fixed: Any
    ) -> tuple[State, Logs, Logs]:
        lanes = (state.optimizer[0].shape[0],) if stacked else ()

        def another(number: Any, carry: Any) -> Any:
            state, *logs = carry
            state = state._replace(metrics=structure.no_metrics)
            state, *new = epoch(state, batches[number], rests[number], *fixed)
            state = state._replace(metrics=[] if stacked else state.metrics)
            return state, *jax.tree.map(lambda all, one: all.at[number].set(one), logs, new)

        logs = [
            _room(steps.logs_like, (most, *lanes)) for steps in (structure.train, test) if steps
        ]
        logs += [{}] * (2 - len(logs))
        state = state._replace(metrics=[] if stacked else structure.no_metrics)
        result: tuple[State, Logs, Logs] = jax.lax.fori_loop(0, n_epochs, another, (state, *logs))
        return result

    return run


def _with_validation(structure: Structure) -> Callable[..., Any]:
    """One epoch of one fit, and a look at the rows that it validates on."""
    train = scanned(structure.train)
    test = scanned(structure.test) if structure.test is not None else None

    def epoch(
        state: State,
        batches: Any,
        rest: Any,
        data: Any,
        which: Any,
        held: Any,
        which_held: Any,
        held_rows: Any,
    ) -> tuple[State, Logs, Logs]:
        state, logs, _ = train(state, which, batches, rest, data)
        if test is None:
            return state, logs, {}
        state = state._replace(metrics=structure.no_metrics)
        state, of_held, _ = test(state, which_held, *held_rows, held)
        return state, logs, of_held

    return epoch


def _room(logs: Logs, axes: tuple[int, ...]) -> Logs:
    return {name: jnp.zeros((*axes, *one.shape), one.dtype) for name, one in logs.items()}
