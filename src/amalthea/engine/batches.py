"""Batches for Keras's own fit and predict: the documented order, and a fixed shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from ..randomness import epoch_order
from .rows import Arrays, Rows, count_rows, map_arrays, take

Order = Callable[[int], np.ndarray]  # the row numbers of an epoch, by the number of the epoch


class EpochBatches(keras.utils.PyDataset):
    """The rows of each epoch, cut into consecutive batches; the last one may be short."""

    def __init__(self, rows: Rows, batch_size: int, order: Order) -> None:
        super().__init__()
        self._rows = rows
        self._batch_size = batch_size
        self._order_of = order
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        self._order = self._order_of(epoch)

    @property
    def num_batches(self) -> int:
        return -(-len(self._rows) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Arrays, ...]:
        start = index * self._batch_size
        return self._rows.take(self._order[start : start + self._batch_size])


class EpochClock(keras.callbacks.Callback):
    """Tells the batches which epoch begins."""

    def __init__(self, batches: EpochBatches) -> None:
        super().__init__()
        self._batches = batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._batches.start_epoch(epoch)


class PaddedBatches(keras.utils.PyDataset):
    """All rows in batches of one shape; the last one is filled up with copies of the last row.

    One shape means one program, and that no row's output depends on how many came with it.
    """

    def __init__(self, x: Arrays, batch_size: int) -> None:
        super().__init__()
        self._x = x
        self._n_rows = count_rows(x)
        self._batch_size = batch_size

    @property
    def num_batches(self) -> int:
        return -(-self._n_rows // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Arrays]:
        start = index * self._batch_size
        rows = np.arange(start, start + self._batch_size)
        return (take(self._x, np.minimum(rows, self._n_rows - 1)),)

    def without_padding(self, outputs: Arrays) -> Arrays:
        return map_arrays(lambda array: array[: self._n_rows], outputs)


def shuffled(n_rows: int, seed: int) -> Order:
    return lambda epoch: epoch_order(n_rows, epoch, seed)


def as_they_stand(n_rows: int) -> Order:
    rows = np.arange(n_rows)
    return lambda epoch: rows
