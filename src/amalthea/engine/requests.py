"""What the engine is asked to do, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from .rows import Arrays, Rows


@dataclass(frozen=True)
class FitRequest:
    """Train a compiled and built model, in place.

    ``epochs`` is the number of the last epoch, as in ``keras.Model.fit``: training runs from
    ``initial_epoch`` (so many are done already) up to it. Epoch ``e`` takes the rows of
    ``training`` in the order ``epoch_order(len(training), e, seed)``, or as they stand when
    ``shuffle`` is False.
    """

    model: keras.Model
    training: Rows
    seed: int
    epochs: int
    initial_epoch: int = 0
    batch_size: int = 32
    shuffle: bool = True
    callbacks: Sequence[keras.callbacks.Callback] = ()
    validation: Rows | None = None
    validation_batch_size: int = 32
    validation_freq: int = 1
    verbose: Any = 0


@dataclass(frozen=True)
class FitResult:
    """One value per epoch and quantity, and the numbers of the epochs that were run.

    ``form`` is how it was trained: ``"compiled"``, or ``"keras"`` for Keras's own ``fit``, and
    then ``reason`` says why.
    """

    history: dict[str, list[float]]
    epochs: list[int]
    form: str = "compiled"
    reason: str | None = None


@dataclass(frozen=True)
class PredictRequest:
    """Predict every row of ``x``, in batches that all have ``batch_size`` rows."""

    model: keras.Model
    x: Arrays
    batch_size: int = 32
    callbacks: Sequence[keras.callbacks.Callback] = ()
    verbose: Any = 0
