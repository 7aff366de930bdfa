"""The engine's front door: requests in, trained models out.

    requests -> group by structure -> choose forms -> train each cohort -> hand over

Keras's own ``fit`` is the reference, and answers whatever the compiled forms cannot.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import RLock
from typing import Any

from ..errors import KerasFitWarning
from . import memory
from .cohorts import Cohort, run_all
from .costs import expected_seconds
from .data import Pool
from .epochs import Tools
from .lifting.families import Families
from .members import Member, kind_of_member
from .obstacles import NeedsKeras, why_not_compiled, why_not_kept, why_not_predicted
from .parts import Cutting
from .plan import Log, PlannedCohort, by_keras
from .predictions import Predictions
from .programs import Programs
from .reached import Reached
from .reference import ReferenceTrainer
from .requests import FitRequest, FitResult, PredictRequest
from .room import room_for_engine
from .rows import Arrays
from .run_shapes import RunShapes
from .stored_programs import StoredPrograms
from .structures import Seen, Structures
from .trajectories import way_of

FORMS = ("stacked", "loop", "steps", "keras")
COMPILING_THREADS = 2

# Programs and structures are the process's: every engine uses what another has compiled.
_programs = Programs(stored=StoredPrograms.of_user())
_structures = Structures()
_families = Families()
_shapes = RunShapes()
_reached = Reached()
_log = Log()
_one_at_a_time = RLock()


def forget_programs() -> None:
    """Let go of every compiled program, traced structure and point reached of this process."""
    _programs.clear()
    _shapes.clear()
    _structures.clear()
    _families.clear()
    _reached.clear()


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
        return _programs.compilations

    @property
    def log(self) -> Log:
        """The cohorts that this process has trained so far."""
        return _log

    def can_keep_model(self, request: FitRequest | PredictRequest) -> bool:
        """Whether a request can be answered without touching the values of its model."""
        if self._form == "keras":
            return False
        if isinstance(request, PredictRequest):
            return why_not_predicted(request) is None
        return why_not_kept(request) is None

    def train(self, requests: Sequence[FitRequest]) -> list[FitResult | Exception]:
        """Train the model of every request; an exception where one failed."""
        with _one_at_a_time:
            reasons = [self._why_by_keras(request) for request in requests]
            compiled = [n for n, reason in enumerate(reasons) if reason is None]
            answers = dict(
                zip(compiled, self._together([requests[n] for n in compiled]), strict=True)
            )
            for number, request in enumerate(requests):
                answer = answers.get(number)
                if answer is None or isinstance(answer, NeedsKeras):
                    reason = reasons[number] or str(answer)
                    answers[number] = self._by_keras(request, reason)
            memory.after_fits(len(requests))
            return [answers[number] for number in range(len(requests))]

    def predict(self, requests: Sequence[PredictRequest]) -> list[Arrays | Exception]:
        """The outputs of every request's model; an exception where one failed."""
        with _one_at_a_time:
            compiled = [request for request in requests if self._predicts(request)]
            predictions = Predictions(_structures, _families, _programs, not self._to_the_bit)
            started = iter(predictions.start(compiled))
            answers = [
                next(started)
                if self._predicts(request)
                else partial(self._reference.predict, request)
                for request in requests
            ]
            return [one if isinstance(one, Exception) else _or_error(one) for one in answers]

    def _why_by_keras(self, request: FitRequest) -> str | None:
        return "form='keras'" if self._form == "keras" else why_not_compiled(request)

    def _by_keras(self, request: FitRequest, reason: str) -> FitResult | Exception:
        started = time.perf_counter()
        result = _or_error(self._fit_by_keras, request, reason)
        if isinstance(result, Exception):
            return result
        seconds = time.perf_counter() - started
        _log.add(by_keras(seconds))
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

    def _together(self, requests: Sequence[FitRequest]) -> list[FitResult | Exception]:
        """Train requests that the compiled forms can answer."""
        pool = Pool()
        results: dict[int, Any] = {}
        number_of: dict[Member, int] = {}
        cohorts: list[Cohort] = []
        room = room_for_engine(self._max_memory)
        seen: Seen = {}  # before a fit changes its model
        likenesses = [_structures.likeness_of(request, seen) for request in requests]
        with ThreadPoolExecutor(COMPILING_THREADS) as compiling:
            # A lone fit is compiled here; programs of several while the next ones are lowered.
            several = compiling if len(requests) > 1 else None
            tools = Tools(_programs, _shapes, pool, _reached, compiling=several)
            for number, (request, key) in enumerate(zip(requests, likenesses, strict=True)):
                member = _or_error(self._member, request, key, pool)
                if isinstance(member, Exception):
                    results[number] = member
                else:
                    number_of[member] = number
            cutting = Cutting(_families, _shapes, self._form, room, self._to_the_bit)
            for part in cutting.parts(list(number_of)):
                before = _programs.compilations
                cohort = _or_error(Cohort, part, tools)
                if isinstance(cohort, Exception):  # all fail with it
                    results.update({number_of[member]: cohort for member in part.everyone})
                else:
                    cohort.n_programs = _programs.compilations - before
                    cohorts.append(cohort)
            for member, outcome in run_all(cohorts).items():
                results[number_of[member]] = outcome
            for cohort in cohorts:
                _log.add(_planned(cohort))
        return [results[n] for n in range(len(requests))]

    def _member(self, request: FitRequest, key: Hashable | None, pool: Pool) -> Member:
        started = time.perf_counter()
        validation = request.validation and pool.shared(request.validation)
        request = replace(request, training=pool.shared(request.training), validation=validation)
        kind = kind_of_member(request)
        structure, state = _structures.of_fit(request, key, kind.needs_all_variables)
        member = kind(request, structure, state)
        if not self._to_the_bit:  # a fit alone is trained from its beginning
            self._go_on(member, pool)
        member.begin()
        member.seconds = time.perf_counter() - started
        return member

    def _go_on(self, member: Member, pool: Pool) -> None:
        """Start where an earlier fit was that went the same way, if there was one."""
        way = way_of(member, pool.content)
        if way is not None:
            member.way = self._form, way  # forms round differently
            earlier = _reached.before(member.way, member.request.epochs)
            if earlier is not None:
                member.go_on_from(earlier)


def _planned(cohort: Cohort) -> PlannedCohort:
    part, form = cohort.part, cohort.form
    here = {member.structure.key for member in cohort.members}
    prepares = cohort.n_programs > 0
    expected = expected_seconds(part.family.structure, part.members, form.lanes, prepares)
    return PlannedCohort(
        fits=len(cohort.members),
        form=form.name,
        lanes=form.lanes,
        structures=len(here),
        effort=form.effort.name.lower(),
        programs=cohort.n_programs,
        predicted_seconds=expected,
        seconds=cohort.seconds,
        predicted_bytes=part.bytes_each * form.lanes,
        bytes=cohort.bytes,
    )


def _or_error(answer: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return answer(*arguments)
    except Exception as error:
        return error
