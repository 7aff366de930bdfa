"""JAX's generator of random bits, in its partitionable form: threefry2x32.

Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: as easy as 1, 2, 3. The bits of a
draw's number k come from the key and from k alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def bits(key: Any, places: Any) -> Any:
    """32 random bits for each of these places.

    Parameters
    ----------
    key : array of uint32, shape (2,)
        Of NumPy or of JAX, as are the places.
    places : array of uint32
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    left, right = keys[0], places + keys[1]
    for group in range(5):
        for by in _ROTATIONS[group % 2]:
            left = left + right
            right = left ^ ((right << np.uint32(by)) | (right >> np.uint32(32 - by)))
        left = left + keys[(group + 1) % 3]
        right = right + keys[(group + 2) % 3] + np.uint32(group + 1)
    return left ^ right
