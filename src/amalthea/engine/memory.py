"""Freeing trained models.

A Keras model refers to itself in circles, so only Python's cycle collector frees it, and that
runs too seldom: it waits until a quarter of all long-lived objects are new, and Keras and JAX
keep hundreds of thousands. Without help a search holds the memory of dozens of dead models.
"""

from __future__ import annotations

import gc
import itertools

FITS_BETWEEN_COLLECTIONS = 10  # a collection takes about 0.1 s, a fit holds about 1 MB

_fits = itertools.count(1)


def after_fit() -> None:
    """Called after every fit; now and then frees the models that nobody holds any more."""
    if next(_fits) % FITS_BETWEEN_COLLECTIONS == 0:
        gc.collect()
