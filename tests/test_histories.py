"""Histories that go on, and the best epoch in them."""

from __future__ import annotations

import math

from amalthea.engine.requests import FitResult
from amalthea.estimators.histories import best_epoch, extended


def test_a_history_goes_on_where_it_stopped() -> None:
    history, epochs = extended({}, {}, FitResult({"loss": [3.0, 2.0]}, [0, 1]), 1)
    history, epochs = extended(history, epochs, FitResult({"loss": [1.0]}, [2]), 1)
    assert history == {"loss": [3.0, 2.0, 1.0]}
    assert epochs == {"loss": [0, 1, 2]}


def test_validation_that_comes_later_is_counted_by_its_epochs() -> None:
    history, epochs = extended({}, {}, FitResult({"loss": [3.0, 2.0]}, [0, 1]), 1)
    later = FitResult({"loss": [1.0, 0.5], "val_loss": [0.9]}, [2, 3])
    history, epochs = extended(history, epochs, later, 2)
    assert epochs == {"loss": [0, 1, 2, 3], "val_loss": [3]}
    assert best_epoch(history, epochs) == 3


def test_the_best_epoch_has_the_smallest_finite_loss() -> None:
    history = {"loss": [math.inf, math.nan, 2.0, 1.0, 3.0]}
    assert best_epoch(history, {"loss": [0, 1, 2, 3, 4]}) == 3
    assert best_epoch({"loss": [math.nan]}, {"loss": [0]}) is None
    assert best_epoch({}, {}) is None
