"""JAX's uniform draws on a CPU, made with NumPy: without a compilation of 0.2 s.

The floats have 23 random bits (:mod:`.threefry`), and are scaled by a multiplication and an
addition that processors round once, which double precision repeats: but for one in some hundred
millions, numbers are equal to the bit.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from . import threefry

_ONE = np.uint32(0x3F800000)  # the bits of 1.0


@cache
def can_be_drawn_here() -> bool:
    """Whether this is a CPU that rounds a product and a sum once."""
    if jax.default_backend() != "cpu":
        return False
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    try:
        return " fma " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def uniform(key: np.ndarray, size: int, least: Any, most: Any) -> np.ndarray:
    """``jax.random.uniform(key, (size,), "float32", least, most)``.

    Parameters
    ----------
    key : array of uint32, shape (2,)
    size : int
    least, most : float
    """
    with np.errstate(over="ignore"):
        bits = threefry.bits(key, np.arange(size, dtype="uint32"))
    unit = ((bits >> np.uint32(9)) | _ONE).view("float32") - np.float32(1)
    least, most = np.float32(least), np.float32(most)
    span = np.float64(most - least)
    scaled = (unit.astype("float64") * span + np.float64(least)).astype("float32")
    return np.maximum(least, scaled)
