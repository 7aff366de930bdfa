"""Run a block under a seed and leave every global generator as it was."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from .. import privates

_one_at_a_time = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block as after ``keras.utils.set_random_seed(seed)``; put everything back after it.

    Put back are the global generators of Python, NumPy, Keras and, where it is loaded, PyTorch,
    and Keras's counters of names. They belong to the process: threads take turns.
    """
    with _one_at_a_time:
        yield from _seeded(seed)


def _seeded(seed: int) -> Iterator[None]:
    python_state, numpy_state = random.getstate(), np.random.get_state()
    keras_state = privates.keras_state()
    torch = sys.modules.get("torch")
    torch_state = torch.random.get_rng_state() if torch else None
    try:
        privates.set_keras_state(privates.AS_AT_START)  # Keras 3.12 keeps its old generator
        keras.utils.set_random_seed(seed)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        privates.set_keras_state(keras_state)
        if torch:
            torch.random.set_rng_state(torch_state)
