"""The seam between estimators and engine: one trainer is current, and estimators ask it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from .forms import Engine
from .requests import FitRequest, FitResult, PredictRequest
from .rows import Arrays


class Trainer(Protocol):
    """Whatever can answer fit and predict requests, together.

    ``train`` trains the model of each request in place and reports what happened; ``predict``
    returns one array for each output of the model, in the model's own structure, one row for
    each row asked. An answer is an exception where that request failed; the others are answered.
    """

    def train(self, requests: Sequence[FitRequest]) -> list[FitResult | Exception]: ...

    def predict(self, requests: Sequence[PredictRequest]) -> list[Arrays | Exception]: ...


_current: ContextVar[Trainer] = ContextVar("amalthea_trainer")
_default = Engine(to_the_bit=True)


def current_trainer() -> Trainer:
    return _current.get(_default)


def chosen_trainer() -> Trainer | None:
    """The current trainer, where somebody chose one."""
    return _current.get(None)


@contextmanager
def training_with(trainer: Trainer) -> Iterator[None]:
    """Make ``trainer`` the current one inside the block."""
    token = _current.set(trainer)
    try:
        yield
    finally:
        _current.reset(token)


def shares_models() -> bool:
    """Whether fits wait for each other here, so that equal models need be built once."""
    return bool(getattr(current_trainer(), "shares_models", False))


def can_keep_model(request: FitRequest | PredictRequest) -> bool:
    """Whether the current trainer can answer without changing or asking the model's values."""
    able = getattr(current_trainer(), "can_keep_model", None)
    return able is not None and able(request)


def fit(request: FitRequest) -> FitResult:
    """Have the current trainer answer this request alone."""
    result: FitResult = _answer(current_trainer().train([request]))
    return result


def predict(request: PredictRequest) -> Arrays:
    """Have the current trainer answer this request alone."""
    return _answer(current_trainer().predict([request]))


def _answer(answers: list[Any]) -> Any:
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    return answer
