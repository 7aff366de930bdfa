"""How many tasks may be under way at once: as many as memory holds.

A task that waits holds its training and test rows and its model. What it holds is
counted where it waits: the arrays in the local variables of its functions and in its requests,
each once, but not those that it was given, which are its caller's anyway. When the sum reaches
the bound, no further task is started until some have ended.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..engine.room import SHARE_OF_ENGINE, to_be_used

PER_TASK = 1_250_000  # a Keras model's Python objects, and a stack
COPIES_OF_MODEL = 3  # its weights, and two slots of an optimizer
LITTLE = 4_000_000  # bytes of data that are not worth a closer look
COPIES_OF_LITTLE = 4  # that a task may hold: training and test rows, in two types
_DEPTH = 3
_LONGEST = 64  # elements of a container that are looked at
_SIMPLE = (type(None), bool, int, float, str, bytes, type)


class Admission:
    """Who holds how much.

    Parameters
    ----------
    max_memory : int, optional
        The most bytes that the process shall hold. By default half of what is free now may come
        on top of what it holds.
    """

    def __init__(self, max_memory: int | None = None) -> None:
        self._max_memory = max_memory
        self._budget: float | None = None
        self._held: dict[Any, int] = {}
        self._buffers: dict[Any, list[int]] = {}
        self._counted: set[int] = set()
        self._sizes: dict[int, tuple[Any, int]] = {}  # of what tasks were given
        self._given: dict[Any, int | None] = {}  # the same by task, where it is little
        self._of_models: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._sum = 0
        self._largest = 0

    def weigh(
        self, task: Any, frames: Iterable[FrameType], requests: Sequence[Any], given: Iterable[Any]
    ) -> None:
        """Count what a task holds: in its functions and requests, but not what it was given."""
        if self._budget is None:
            self._budget = budget(self._max_memory)
        self._drop(task)
        mine: list[int] = []
        held = PER_TASK + sum(map(self._bytes_of_model, _models(requests)))
        if task not in self._given:  # a task is given nothing more
            self._given[task] = self._of_little(given)
        little = self._given[task]
        if little is not None:  # looking at everything would cost more than it tells
            looked_at: Iterable[Any] = ()
            held += COPIES_OF_LITTLE * little
        else:
            looked_at = [*_locals(frames), *requests]
        own = dict(arrays(given)) if little is None else {}
        for key, size in arrays(looked_at):
            if key not in self._counted and key not in own:
                self._counted.add(key)
                mine.append(key)
                held += size
        self._held[task], self._buffers[task] = held, mine
        self._sum += held
        self._largest = max(self._largest, held)

    def _of_little(self, given: Iterable[Any]) -> int | None:
        """The bytes of the arrays that a task was given, where these are few."""
        total = 0
        for value in given:
            if hasattr(value, "get_params") or isinstance(value, _SIMPLE):
                continue
            if id(value) not in self._sizes:
                size = sum(dict(arrays([value])).values())
                if not size:
                    continue
                self._sizes[id(value)] = value, size
            total += self._sizes[id(value)][1]
            if total > LITTLE:
                return None
        return total if total else None

    def forget(self, task: Any) -> None:
        self._given.pop(task, None)
        self._drop(task)

    def _drop(self, task: Any) -> None:
        self._sum -= self._held.pop(task, 0)
        self._counted.difference_update(self._buffers.pop(task, ()))

    def _bytes_of_model(self, model: Any) -> int:
        if model not in self._of_models:
            variables = getattr(model, "variables", ())
            numbers = sum(math.prod(variable.shape) for variable in variables)
            self._of_models[model] = COPIES_OF_MODEL * 4 * numbers
        return self._of_models[model]

    @property
    def has_room(self) -> bool:
        """Whether one more task, as large as the largest so far, would fit."""
        return self._budget is None or self._sum + self._largest <= self._budget


def _locals(frames: Iterable[FrameType]) -> Iterator[Any]:
    for frame in frames:
        yield from frame.f_locals.values()


def arrays(values: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """Name and bytes of every buffer below these values; a buffer may come more than once."""
    seen: set[int] = set()
    ahead = [(value, 0) for value in values]
    while ahead:
        value, depth = ahead.pop()
        if isinstance(value, _SIMPLE) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            yield _buffer(value)
        elif hasattr(type(value), "memory_usage"):  # pandas
            usage = value.memory_usage(index=False) if value.ndim == 2 else value.nbytes
            yield id(value), int(np.sum(usage))
        elif hasattr(type(value), "estimated_size"):  # polars
            yield id(value), int(value.estimated_size())
        elif hasattr(type(value), "nbytes") and hasattr(type(value), "dtype"):  # a JAX array
            yield id(value), int(value.nbytes)
        elif depth < _DEPTH:
            ahead.extend((part, depth + 1) for part in _parts(value))


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, list | tuple):
        return value[:_LONGEST]
    if isinstance(value, dict):
        return list(value.values())[:_LONGEST]
    kind = type(value)
    if dataclasses.is_dataclass(kind) or hasattr(kind, "get_params"):
        return list(getattr(value, "__dict__", {}).values())[:_LONGEST]
    if hasattr(kind, "tocsr"):  # a SciPy sparse matrix
        return list(vars(value).values())
    return ()


def _buffer(array: np.ndarray) -> tuple[int, int]:
    """The memory behind a view; rows of a file on disk count for nothing."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    if isinstance(array, np.memmap):
        return id(array), 0
    return id(array if array.base is None else array.base), array.nbytes


def _models(requests: Sequence[Any]) -> list[Any]:
    models = {id(request.model): request.model for request in requests if hasattr(request, "model")}
    return list(models.values())


def budget(max_memory: int | None) -> float:
    """Bytes that all waiting tasks together may hold: what the engine does not take."""
    return (1 - SHARE_OF_ENGINE) * to_be_used(max_memory)
