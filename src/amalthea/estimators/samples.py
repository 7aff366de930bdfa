"""Rows as the user gave them, checked: inputs, targets and weights, not yet encoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..engine.rows import Arrays, count_rows, take_raw
from ..errors import InvalidData


@dataclass(frozen=True)
class Samples:
    """X, y and weights of the same rows.

    Raises
    ------
    InvalidData
        When the numbers of rows differ.
    """

    x: Arrays
    y: np.ndarray
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        if count_rows(self.x) != len(self.y):
            raise InvalidData(
                "X and y have inconsistent numbers of samples: X has "
                f"{count_rows(self.x)} rows, and y has {len(self.y)}."
            )

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> Samples:
        weights = None if self.weights is None else self.weights[rows]
        return Samples(take_raw(self.x, rows), self.y[rows], weights)
