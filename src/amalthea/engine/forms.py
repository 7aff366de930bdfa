"""The engine's front door: requests in, trained models out.

Keras's own ``fit`` is the reference, and answers whatever the compiled forms cannot.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from threading import RLock
from typing import Any

import jax

from ..errors import KerasFitWarning
from . import memory
from .known import Known
from .obstacles import NeedsKeras, why_not_compiled, why_not_kept, why_not_predicted
from .plan import Log, by_keras
from .reference import ReferenceTrainer
from .requests import FitRequest, FitResult, PredictRequest
from .room import room_for_engine
from .rows import Arrays
from .training import Training, or_error, prepared

FORMS = ("stacked", "loop", "steps", "keras")

_known = Known()
_one_at_a_time = RLock()


def forget_programs() -> None:
    """Let go of every compiled program, traced structure and point reached of this process."""
    _known.forget()


class Engine:
    """A trainer that trains requests together, and chooses the form of each by itself.

    Parameters
    ----------
    form : {"stacked", "loop", "steps", "keras"}, optional
        Train everything in this form, as far as it can be. ``"keras"`` is the reference: Keras's
        own ``fit``, one at a time. None chooses.
    max_memory : int, optional
        The most bytes that the process shall hold. By default half of what is free may come on
        top of what it holds.
    to_the_bit : bool, default=False
        On CPUs, keep to what gives Keras's own numbers to the bit: slower to compile, and nothing
        is stacked unless ``form`` says so. Otherwise rounding may differ, where it stays small.
    """

    def __init__(
        self,
        form: str | None = None,
        max_memory: int | None = None,
        *,
        to_the_bit: bool = False,
    ) -> None:
        self._form, self._max_memory, self._to_the_bit = form, max_memory, to_the_bit
        self._reference = ReferenceTrainer()
        self._told: set[str] = set()

    @property
    def compilations(self) -> int:
        """How many programs this process has compiled so far."""
        return _known.programs.compilations

    @property
    def log(self) -> Log:
        """The cohorts that this process has trained so far."""
        return _known.log

    def can_keep_model(self, request: FitRequest | PredictRequest) -> bool:
        """Whether a request can be answered without touching the values of its model."""
        if self._form == "keras":
            return False
        if isinstance(request, PredictRequest):
            return why_not_predicted(request) is None
        return why_not_kept(request) is None

    def waits(self, requests: Sequence[FitRequest | PredictRequest]) -> bool:
        """Whether it is worth while to ask these together with others, later."""
        return self._form != "keras"

    def prepare(self, requests: Sequence[FitRequest]) -> list[FitRequest]:
        """These requests with what their models are and compute now.

        For those that will be trained later: the builders of others run until then, and may change
        what the code of these models reads.
        """
        with _one_at_a_time:
            return [one if self._why_by_keras(one) else prepared(one, _known) for one in requests]

    def train(self, requests: Sequence[FitRequest]) -> list[FitResult | Exception]:
        """Train the model of every request; an exception where one failed."""
        with _one_at_a_time:
            reasons = [self._why_by_keras(request) for request in requests]
            compiled = [request for request, why in zip(requests, reasons, strict=True) if not why]
            answers = iter(self._training(compiled).answers())
            pairs = zip(requests, reasons, strict=True)
            return self._with_keras([(one, why or next(answers)) for one, why in pairs])

    def begin(self, requests: Sequence[FitRequest], last: bool = False) -> Begun | None:
        """Train while the caller does something else.

        If these are not the ``last`` ones, then only where further ones will be trained by the same
        programs. That is expected where the later half of these requests brought no model that is
        unlike all of the others.
        """
        likenesses = [request.likeness for request in requests]
        half = len(likenesses) // 2
        if (
            jax.default_backend() != "cpu"
            or self._form is not None
            or None in likenesses
            or not (last or set(likenesses[half:]) <= set(likenesses[:half]))
            or not all(map(self.can_keep_model, requests))
        ):
            return None
        with _one_at_a_time:
            return Begun(self, requests, self._training(requests))

    def end(self, requests: Sequence[FitRequest], training: Training) -> list[Any]:
        """The answers to what was begun."""
        with _one_at_a_time:
            return self._with_keras(list(zip(requests, training.answers(), strict=True)))

    def _training(self, requests: Sequence[FitRequest]) -> Training:
        room = room_for_engine(self._max_memory)
        return Training(requests, _known, self._form, room, self._to_the_bit)

    def _with_keras(self, answered: list[tuple[FitRequest, Any]]) -> list[FitResult | Exception]:
        """Those answers; by Keras's own fit where a reason stands in the place of one."""
        answers = [
            self._by_keras(request, str(answer)) if isinstance(answer, str | NeedsKeras) else answer
            for request, answer in answered
        ]
        memory.after_fits(len(answers))
        return answers

    def predict(self, requests: Sequence[PredictRequest]) -> list[Arrays | Exception]:
        """The outputs of every request's model; an exception where one failed."""
        with _one_at_a_time:
            compiled = [request for request in requests if self._predicts(request)]
            started = iter(_known.predictions(self._to_the_bit).start(compiled))
            answers = [
                next(started)
                if self._predicts(request)
                else partial(self._reference.predict, request)
                for request in requests
            ]
            return [one if isinstance(one, Exception) else or_error(one) for one in answers]

    def _why_by_keras(self, request: FitRequest) -> str | None:
        return "form='keras'" if self._form == "keras" else why_not_compiled(request)

    def _by_keras(self, request: FitRequest, reason: str) -> FitResult | Exception:
        started = time.perf_counter()
        result = or_error(self._fit_by_keras, request, reason)
        if isinstance(result, Exception):
            return result
        seconds = time.perf_counter() - started
        _known.log.add(by_keras(seconds))
        return replace(result, reason=reason, seconds=seconds)

    def _fit_by_keras(self, request: FitRequest, reason: str) -> FitResult:
        if self._form != "keras" and reason not in self._told:
            told = f"Keras's own fit trains this model, and more slowly: {reason}."
            warnings.warn(told, KerasFitWarning, stacklevel=2)
            if not self._to_the_bit:  # of a search, whose tasks would all tell it again
                self._told.add(reason)
        return self._reference.fit(request)

    def _predicts(self, request: PredictRequest) -> bool:
        return self._form != "keras" and why_not_predicted(request) is None


class Begun:
    """Fits that train meanwhile.

    Parameters
    ----------
    engine : Engine
    requests : sequence of FitRequest
    training : Training
    """

    def __init__(self, engine: Engine, requests: Sequence[FitRequest], training: Training) -> None:
        self._engine, self._requests, self._training = engine, requests, training

    @property
    def done(self) -> bool:
        return self._training.done

    def wait(self) -> None:
        """Return when no thread trains any more."""
        self._training.wait()

    def answers(self) -> list[FitResult | Exception]:
        """As :meth:`Engine.train` answers."""
        return self._engine.end(self._requests, self._training)

    def stop(self) -> None:
        """Nobody wants an answer any more."""
        self._training.stop()
