"""What ``random_state`` means: the seed of the builder, and the order of the rows.

``random_state=s`` fixes two things. The builder runs as after ``keras.utils.set_random_seed(s)``,
and epoch ``e`` takes the training rows in the order ``batch_order(n_samples, epochs, s)[e]``.
Both can be had without Amalthea, so that every fit can be repeated with Keras alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .arguments import whole_number

LARGEST_SEED = 2**32 - 1


def batch_order(n_samples: int, epochs: int, random_state: int) -> np.ndarray:
    """The order in which each epoch takes the training rows.

    Parameters
    ----------
    n_samples : int
        Number of training rows (those that are left when a validation part is taken away).
    epochs : int
        Number of epochs. Fewer epochs give a prefix of what more epochs give.
    random_state : int
        The seed, from 0 to 2**32 - 1.

    Returns
    -------
    ndarray of int64, shape (epochs, n_samples)
        Row ``e`` is a permutation of ``range(n_samples)``. Consecutive batches of an epoch are
        consecutive pieces of it; the last one may be short.

    Raises
    ------
    InvalidParameter
        When an argument is not an integer in its range.

    Notes
    -----
    Row ``e`` is ``numpy.random.RandomState([random_state, e]).permutation(n_samples)``. NumPy
    guarantees that stream for ever (NEP 19), so a fit can be repeated under later versions.
    """
    n_samples = whole_number("n_samples", n_samples)
    epochs = whole_number("epochs", epochs)
    seed = whole_number("random_state", random_state, most=LARGEST_SEED)
    if not epochs:
        return np.empty((0, n_samples), dtype=np.int64)
    return np.stack([epoch_order(n_samples, epoch, seed) for epoch in range(epochs)])


def epoch_order(n_samples: int, epoch: int, seed: int) -> np.ndarray:
    """One row of :func:`batch_order`, not to be written to."""
    few = n_samples <= _FEW_SAMPLES
    return _known_order(n_samples, epoch, seed) if few else _order(n_samples, epoch, seed)


def _order(n_samples: int, epoch: int, seed: int) -> np.ndarray:
    return np.random.RandomState([seed, epoch]).permutation(n_samples).astype(np.int64)


# The fits of a search mostly have one seed, and drawing an order costs more than a small step.
_known_order = lru_cache(maxsize=1024)(_order)
_FEW_SAMPLES = 2048


def draw_seed(random_state: Any) -> int:
    """The seed of one fit.

    An int is the seed itself. ``None`` draws one from NumPy's global generator, and a
    ``RandomState`` or ``Generator`` draws one from itself, as scikit-learn's estimators do.
    """
    if random_state is None or random_state is np.random:
        return int(np.random.randint(2**31 - 1))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    return whole_number("random_state", random_state, most=LARGEST_SEED)
