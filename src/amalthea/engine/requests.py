"""What the engine is asked to do, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .likeness import Likeness
from .rows import Arrays, Rows
from .seeding import Generators
from .steps import State


@dataclass(frozen=True)
class FitRequest:
    """Train a compiled and built model, in place.

    ``epochs`` is the number of the last epoch, as in ``keras.Model.fit``: training runs from
    ``initial_epoch`` (so many are done already) up to it. Epoch ``e`` takes the rows of
    ``training`` in the order ``epoch_order(len(training), e, seed)``, or as they stand when
    ``shuffle`` is False. ``generators`` are the global generators as the builder left them; what
    draws from them during training goes on from there. With ``keeps_model`` the model is not
    changed: others start from it too, and what was learned stands in the result. ``likeness`` is
    that of the model, where it is known and will stay. ``prepared`` are the structure
    and the state that the model had when the fit was asked for (:meth:`.forms.Engine.prepare`).
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
    generators: Generators | None = None
    keeps_model: bool = False
    likeness: Likeness | None = None
    prepared: Any = None

    @property
    def n_batches(self) -> int:
        """Of an epoch, the short last one included."""
        return -(-len(self.training) // self.batch_size)

    @property
    def validation_rhythm(self) -> tuple[int, int]:
        """Equal where the same epochs, counted from the first of each fit, are validated."""
        return self.validation_freq, self.initial_epoch % self.validation_freq


@dataclass(frozen=True)
class FitResult:
    """One value per epoch and quantity, and the numbers of the epochs that were run.

    ``form`` is how it was trained: ``"stacked"``, ``"loop"`` or ``"steps"`` (see
    :mod:`amalthea.engine.epochs`), or ``"keras"`` for Keras's own ``fit``, and then ``reason``
    says why. ``state`` has the learned values where the model was to be kept. ``seconds`` is the
    fair share of what all fits took that were trained together.
    """

    history: dict[str, list[Any]]
    epochs: list[int]
    form: str = "loop"
    reason: str | None = None
    seconds: float = 0.0
    state: State | None = None


def plain_history(history: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Histories with Python's floats; a metric with a value per class keeps its arrays."""
    return {name: [plain_value(value) for value in column] for name, column in history.items()}


def plain_value(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value if isinstance(value, str) else np.asarray(value)


@dataclass(frozen=True)
class PredictRequest:
    """Predict every row of ``x``, in batches that all have ``batch_size`` rows.

    ``weights`` are values of the trainable and of the other variables, instead of the model's own.
    ``likeness`` is as in :class:`FitRequest`.
    """

    model: keras.Model
    x: Arrays
    batch_size: int = 32
    callbacks: Sequence[keras.callbacks.Callback] = ()
    verbose: Any = 0
    weights: tuple[Any, Any] | None = None
    likeness: Likeness | None = None
