"""What was used last, and no more than so much of it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


def keep(recent: OrderedDict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Have it as the latest, and let go of those that were used longest ago beyond ``most``."""
    recent[key] = value
    recent.move_to_end(key)
    while len(recent) > most:
        recent.popitem(last=False)
