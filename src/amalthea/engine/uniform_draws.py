"""JAX's uniform draws on a CPU, made with NumPy: without a compilation of 0.2 s.

The generator is threefry2x32 (Salmon, Moraes, Dror and Shaw, 2011, Parallel random numbers: as easy
as 1, 2, 3) in JAX's partitionable form, in which number k of a draw comes from the key and k. The
floats have 23 random bits, and are scaled by a multiplication and an addition that processors round
once, which double precision repeats: but for one in some hundred millions, numbers are equal to the
bit.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
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
    bits = (_bits(key, size) >> np.uint32(9)) | _ONE
    unit = bits.view("float32") - np.float32(1)
    least, most = np.float32(least), np.float32(most)
    span = np.float64(most - least)
    scaled = (unit.astype("float64") * span + np.float64(least)).astype("float32")
    return np.maximum(least, scaled)


def _bits(key: np.ndarray, size: int) -> np.ndarray:
    """32 random bits for each of the places 0, 1, ..."""
    first, second = np.uint32(key[0]), np.uint32(key[1])
    keys = (first, second, first ^ second ^ _PARITY)
    with np.errstate(over="ignore"):
        left = np.zeros(size, "uint32") + keys[0]
        right = np.arange(size, dtype="uint32") + keys[1]
        for group in range(5):
            for by in _ROTATIONS[group % 2]:
                left = left + right
                right = left ^ ((right << np.uint32(by)) | (right >> np.uint32(32 - by)))
            left = left + keys[(group + 1) % 3]
            right = right + keys[(group + 2) % 3] + np.uint32(group + 1)
    return left ^ right
