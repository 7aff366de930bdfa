"""Histories over several calls of fit, and the epoch that was best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..engine.requests import FitResult

History = Mapping[str, list[Any]]
EpochsOf = Mapping[str, list[int]]  # the epoch of each value, for the losses


def extended(
    history: History, epochs_of: EpochsOf, result: FitResult, validation_freq: int
) -> tuple[dict[str, list[Any]], dict[str, list[int]]]:
    """History and epochs with those of another fit behind them."""
    longer = {name: [*history.get(name, []), *new] for name, new in result.history.items()}
    judged = [epoch for epoch in result.epochs if (epoch + 1) % validation_freq == 0]
    ran = {"loss": result.epochs, "val_loss": judged}
    epochs = {n: [*epochs_of.get(n, []), *new] for n, new in ran.items() if n in result.history}
    return {**history, **longer}, {**epochs_of, **epochs}


def best_epoch(history: History, epochs_of: EpochsOf) -> int | None:
    """The epoch of the smallest finite loss: of validation, where there was any."""
    name = "val_loss" if "val_loss" in history else "loss"
    pairs = zip(history.get(name, []), epochs_of.get(name, []), strict=True)
    finite = [(loss, epoch) for loss, epoch in pairs if np.isfinite(loss)]
    return min(finite)[1] if finite else None
