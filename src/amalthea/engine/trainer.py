"""The seam between estimators and engine: one trainer is current, and estimators ask it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from .forms import Engine
from .requests import FitRequest, FitResult, PredictRequest
from .rows import Arrays


class Trainer(Protocol):
    """Whatever can answer fit and predict requests.

    ``fit`` trains ``request.model`` in place and reports what happened; ``predict`` returns one
    array for each output of the model, in the model's own structure, one row for each row asked.
    """

    def fit(self, request: FitRequest) -> FitResult: ...

    def predict(self, request: PredictRequest) -> Arrays: ...


_current: ContextVar[Trainer] = ContextVar("amalthea_trainer")
_default = Engine()


def current_trainer() -> Trainer:
    return _current.get(_default)


@contextmanager
def training_with(trainer: Trainer) -> Iterator[None]:
    """Make ``trainer`` the current one inside the block."""
    token = _current.set(trainer)
    try:
        yield
    finally:
        _current.reset(token)
