"""Freeing trained models.

A Keras model refers to itself in circles, so only Python's cycle collector frees it, and that
runs too seldom: it waits until a quarter of all long-lived objects are new, and Keras and JAX
keep hundreds of thousands. Without help a search holds the memory of dozens of dead models.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

FEW_WAVES = 3  # what fewer leave behind costs less than to look at all objects at the end
WAVES_BETWEEN_LOOKS = 8  # at all objects, which takes some tenths of a second
FITS_BETWEEN_COLLECTIONS = 32  # a collection takes 0.1 to 0.2 s, a fit holds about 1 MB
YOUNG_OBJECTS = 200_000  # between two looks at the newest; a small search makes fewer

_since_collection = 0
_in_waves: ContextVar[bool] = ContextVar("amalthea_in_waves", default=False)


@dataclass
class _Block:
    """One in which the collector is ours, and how many waves are over in it."""

    n_waves: int = 0

    @property
    def sets_aside(self) -> bool:
        """Whether what waves have left behind is set aside."""
        return self.n_waves >= FEW_WAVES


_block: ContextVar[_Block | None] = ContextVar("amalthea_collector", default=None)


@contextmanager
def quick_collections() -> Iterator[None]:
    """Let the collector look only at what is made inside the block.

    What was there before, mostly modules, is some hundred thousand objects that it would look at
    each time; and what many waves of fits leave behind, such as programs and results, it would look
    at after each later wave. Also let it look less often: building a model makes thousands of
    objects that last. A program that has frozen objects itself is left alone.
    """
    if gc.get_freeze_count():
        yield
        return
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(max(before[0], YOUNG_OBJECTS) if before[0] else 0, *before[1:])
    block = _Block()
    token = _block.set(block)
    try:
        yield
    finally:
        _block.reset(token)
        gc.set_threshold(*before)
        if block.sets_aside:  # what nobody holds any more may be among it
            gc.unfreeze()
        _collect_if_due()
        gc.unfreeze()


@contextmanager
def waves() -> Iterator[None]:
    """Fits inside are many that wait for each other: collecting while they do finds nothing."""
    token = _in_waves.set(True)
    try:
        yield
    finally:
        _in_waves.reset(token)


def between_waves() -> None:
    """Called when a wave is over: free its models, if there were enough."""
    block = _block.get()
    if not _collect_if_due() or block is None:
        return
    block.n_waves += 1
    if block.n_waves % WAVES_BETWEEN_LOOKS == 0:
        gc.unfreeze()
        gc.collect()
    if block.sets_aside:
        gc.freeze()


def after_fits(n_fits: int) -> None:
    """Called after fits; now and then frees the models that nobody holds any more."""
    global _since_collection
    _since_collection += n_fits
    if not _in_waves.get():
        _collect_if_due()


def _collect_if_due() -> bool:
    """Whether it was."""
    global _since_collection
    is_due = _since_collection >= FITS_BETWEEN_COLLECTIONS
    if is_due:
        _since_collection = 0
        gc.collect()
    return is_due
