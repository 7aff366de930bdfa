"""Checks of single argument values; each message names the argument and what came."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from .errors import InvalidParameter


def whole_number(name: str, value: Any, *, least: int = 0, most: int | None = None) -> int:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    number = int(value) if whole else least - 1
    if number < least:
        raise InvalidParameter(f"{name} must be an integer of at least {least}; got {value!r}.")
    if most is not None and number > most:
        raise InvalidParameter(f"{name} must be at most {most}; got {value!r}.")
    return number


def fraction(name: str, value: Any) -> float:
    """A share of the rows: at least 0 and below 1."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not 0 <= float(value) < 1:
        raise InvalidParameter(f"{name} must be a number from 0 up to, not with, 1; got {value!r}.")
    return float(value)


def flag(name: str, value: Any) -> bool:
    if isinstance(value, np.bool_) or (isinstance(value, numbers.Integral) and value in (0, 1)):
        return bool(value)
    raise InvalidParameter(f"{name} must be True or False; got {value!r}.")


def batch_size(name: str, value: Any, n_samples: int) -> int:
    """The rows of a batch: None is Keras's 32; -1 and "all" are every row in one batch."""
    if value is None:
        return 32
    if isinstance(value, str) and value == "all" or isinstance(value, numbers.Real) and value == -1:
        return max(n_samples, 1)
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise InvalidParameter(
            f"{name} must be a positive integer, None (32), or -1 or 'all' (every row in one "
            f"batch); got {value!r}."
        )
    return int(value)
