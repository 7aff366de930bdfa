"""One epoch as a program: a loop on the device, or one compiled step driven from the host.

A short last batch is a step of its own shape, as in Keras's own ``fit``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from .programs import Programs, trace
from .rows import Rows, count_rows, map_arrays
from .steps import State

Step = Callable[[State, Any], tuple[State, dict[str, Any]]]


class Epoch(Protocol):
    """Takes the rows in an order, batch by batch; returns the state and the last batch's logs."""

    def __call__(self, state: State, order: np.ndarray) -> tuple[State, dict[str, Any]]: ...


def epoch_of(step: Step, rows: Rows, batch_size: int, state: State, programs: Programs) -> Epoch:
    """The form of an epoch that is fast for this model on this device."""
    data = rows.all()
    traced = trace(_loop(step), state, data, *_cut(np.arange(len(rows)), batch_size))
    # XLA's convolutions on CPU are several times slower inside a loop (JAX issue 12868).
    if jax.default_backend() == "cpu" and "conv_general_dilated" in traced.text:
        return _HostDriven(step, data, batch_size, state, programs)
    program, on_device = programs(traced), map_arrays(jnp.asarray, data)
    return lambda state, order: program(state, on_device, *_cut(order, batch_size))


def _loop(step: Step) -> Callable[..., Any]:
    def epoch(state: State, data: Any, batches: jax.Array, rest: jax.Array) -> Any:
        logs: dict[str, Any] = {}
        if len(batches):
            body = lambda state, rows: step(state, _gather(data, rows))  # noqa: E731
            state, every = jax.lax.scan(body, state, batches)
            logs = {name: values[-1] for name, values in every.items()}
        if len(rest):
            state, logs = step(state, _gather(data, rest))
        return state, logs

    return epoch


class _HostDriven:
    """Compiled steps, one for whole batches and one for the short last one."""

    def __init__(
        self, step: Step, data: Any, batch_size: int, state: State, programs: Programs
    ) -> None:
        self._data, self._batch_size = data, batch_size
        batches, rest = _cut(np.arange(count_rows(data)), batch_size)
        examples = [rows for rows in (*batches[:1], rest) if len(rows)]
        self._programs = {
            len(rows): programs(trace(step, state, _gather(data, rows))) for rows in examples
        }

    def __call__(self, state: State, order: np.ndarray) -> tuple[State, dict[str, Any]]:
        logs: dict[str, Any] = {}
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            state, logs = self._programs[len(rows)](state, _gather(self._data, rows))
        return state, logs


def _cut(order: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers as whole batches, shape (n_batches, batch_size), and the short last batch."""
    order = order.astype("int32")
    whole = len(order) // batch_size * batch_size
    return order[:whole].reshape(-1, batch_size), order[whole:]


def _gather(data: Any, rows: Any) -> Any:
    return map_arrays(lambda array: array[rows], data)
