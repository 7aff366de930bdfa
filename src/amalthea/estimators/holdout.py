"""Which rows a fit keeps back for validation: shuffled, seeded, and stratified for classes."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import train_test_split

from ..errors import InvalidParameter


def hold_out(
    n_samples: int, share: float, seed: int, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers for training and for validation, both ascending.

    Parameters
    ----------
    n_samples : int
    share : float
        The share of the rows to keep back.
    seed : int
    labels : ndarray of shape (n_samples,), optional
        Classes to stratify by. A class of one row stays in training.

    Raises
    ------
    InvalidParameter
        When there are too few rows for that share.
    """
    rows = np.arange(n_samples)
    single = _single_rows(labels) if labels is not None else rows[:0]
    divisible = np.setdiff1d(rows, single)
    strata = labels[divisible] if labels is not None else None
    try:
        train, held = train_test_split(
            divisible, test_size=share, random_state=seed, stratify=strata
        )
    except ValueError as error:
        raise InvalidParameter(
            f"{n_samples} rows cannot be split with a validation share of {share}: {error}"
        ) from error
    return np.sort(np.concatenate([train, single])), np.sort(held)


def _single_rows(labels: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.flatnonzero(counts[inverse.reshape(-1)] == 1)
