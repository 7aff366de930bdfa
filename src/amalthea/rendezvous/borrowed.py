"""Arrays that a waiting task has only borrowed.

While a task waits, other tasks run, and one of them may change in place what both were given:
``StandardScaler(copy=False)`` does. Requests get copies of such arrays, so that a fit sees what it
saw when it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

_COPIED_ANYWAY = 1_000_000  # bytes; looking whose they are would cost more


def of_ones_own(requests: Sequence[Any], given: Sequence[Any]) -> list[Any]:
    """The requests with no array that shares memory with what the task was given."""
    copies: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    return [_own(request, given, copies) for request in requests]


def _own(value: Any, given: Sequence[Any], copies: dict[int, Any]) -> Any:
    if isinstance(value, np.ndarray):
        if id(value) not in copies:
            borrowed = value.nbytes <= _COPIED_ANYWAY or any(
                np.may_share_memory(value, other) for other in _arrays(given)
            )
            copies[id(value)] = (value, value.copy() if borrowed else value)
        return copies[id(value)][1]
    if type(value) in (list, tuple):
        return type(value)(_own(part, given, copies) for part in value)
    if type(value) is dict:
        return {name: _own(part, given, copies) for name, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        named = {f.name: getattr(value, f.name) for f in fields(value) if f.name in _DATA}
        return replace(value, **{n: _own(part, given, copies) for n, part in named.items()})
    return value


_DATA = ("training", "validation", "x", "y", "sample_weight")


def _arrays(values: Iterable[Any]) -> Iterator[np.ndarray]:
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, Mapping):
            yield from _arrays(value.values())
        elif isinstance(value, list | tuple) and len(value) < 64:
            yield from _arrays(value)
        elif hasattr(type(value), "keys") and hasattr(type(value), "values"):  # several inputs
            yield from _frames_and_inputs(value)


def _frames_and_inputs(value: Any) -> Iterator[np.ndarray]:
    if hasattr(value, "dtypes"):  # a data frame: its columns of one type are one array
        for name in list(value.columns)[:64]:
            column = value[name]
            values = column.to_numpy() if column.dtype != object else None
            if isinstance(values, np.ndarray):
                yield values
    else:
        yield from _arrays(value.values())
