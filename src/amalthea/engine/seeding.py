"""Run a block under a seed and leave every global generator as it was."""

from __future__ import annotations

import copy
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .. import privates

_one_at_a_time = threading.RLock()
_holder = threading.local()


@dataclass(frozen=True)
class Generators:
    """The state of every global generator, and of Keras's counters of names.

    Keras's generator and counters are objects that change in place, so what is in them is kept.
    """

    python: Any
    numpy: Any
    keras: Any
    drawn: np.ndarray | None
    torch: Any

    @classmethod
    def now(cls) -> Generators:
        torch = sys.modules.get("torch")
        seed, generator, names = privates.keras_state()
        return cls(
            random.getstate(),
            np.random.get_state(),
            (seed, generator, copy.copy(names)),
            None if generator is None else _drawn(generator),
            torch.random.get_rng_state() if torch else None,
        )

    def put_back(self) -> None:
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        seed, generator, names = self.keras
        privates.set_keras_state((seed, generator, copy.copy(names)))
        if self.drawn is not None and not np.array_equal(self.drawn, _drawn(generator)):
            generator.state.assign(self.drawn)
        if self.torch is not None:
            sys.modules["torch"].random.set_rng_state(self.torch)


def _drawn(generator: keras.random.SeedGenerator) -> np.ndarray:
    """How far it is; a copy, on any device."""
    return np.array(keras.ops.convert_to_numpy(generator.state.value))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block as after ``keras.utils.set_random_seed(seed)``; put everything back after it.

    Put back are the global generators of Python, NumPy, Keras and, where it is loaded, PyTorch,
    and Keras's counters of names. They belong to the process: threads take turns.
    """
    with _kept():
        privates.set_keras_state(privates.AS_AT_START)  # Keras 3.12 keeps its old generator
        keras.utils.set_random_seed(seed)
        yield


@contextmanager
def resumed(generators: Generators | None) -> Iterator[None]:
    """Run a block with the generators as they were then; put everything back after it."""
    with _kept():
        if generators is not None:
            generators.put_back()
        yield


def held() -> bool:
    """Whether this thread is inside one of these blocks, so that others wait for it."""
    return bool(getattr(_holder, "blocks", 0))


@contextmanager
def _kept() -> Iterator[None]:
    with _one_at_a_time:
        before = Generators.now()
        _holder.blocks = getattr(_holder, "blocks", 0) + 1
        try:
            yield
        finally:
            _holder.blocks -= 1
            before.put_back()
