"""Requests that are trained together: prepared at once, trained while others do something else.

likeness -> structure -> trajectory -> family -> cohorts and forms -> train -> hand over
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import jax

from .. import privates
from .alike import FitLike, Seen
from .cohorts import Cohort, Outcome
from .costs import expected_seconds
from .data import Pool, bytes_of_rows
from .epochs import Tools
from .known import Known
from .members import Member, kind_of_member
from .parts import Cutting
from .plan import PlannedCohort
from .requests import FitRequest, FitResult
from .steps import State
from .structures import Structure, Structures
from .terms import Terms
from .trajectories import way_of

MOST_COMPILING = 8  # programs at a time; one thread prepares them, and more would wait for it
MOST_BYTES_TOLD = 2**26  # of rows: beyond, telling them from others takes too long in each wave


class Training:
    """Trains requests that the compiled forms can answer.

    When it is made, everything is prepared, and on a CPU each cohort that calls no code of a user
    is trained in a thread as soon as it is. ``answers`` trains the others, and waits.

    Parameters
    ----------
    requests : sequence of FitRequest
    known : Known
    form : {"stacked", "loop", "steps"} or None
    room : float
        Bytes that programs and data may take on the device.
    to_the_bit : bool
        As in :class:`.forms.Engine`.
    """

    def __init__(
        self,
        requests: Sequence[FitRequest],
        known: Known,
        form: str | None,
        room: float,
        to_the_bit: bool,
    ) -> None:
        self._known, self._form, self._to_the_bit = known, form, to_the_bit
        self._room = room
        self._n_requests = len(requests)
        self._results: dict[int, Any] = {}
        self._number_of: dict[Member, int] = {}
        self._cohorts: list[Cohort] = []
        n_cores = _n_cores()
        self._compiling = ThreadPoolExecutor(min(max(n_cores, 2), MOST_COMPILING))
        self._threads = ThreadPoolExecutor(n_cores)
        self._running: dict[Cohort, Future[dict[Member, Outcome]]] = {}
        try:
            self._prepare(requests)
        except BaseException:
            self.stop()
            raise

    def answers(self) -> list[FitResult | Exception]:
        """What became of each request, when all are trained."""
        try:
            self.wait()
            for cohort in self._cohorts:
                beside = self._running.get(cohort)
                self._take(beside.result() if beside else _outcomes(cohort))
        finally:
            self.stop()
        for cohort in self._cohorts:
            self._known.log.add(_planned(cohort))
        return [self._results[number] for number in range(self._n_requests)]

    @property
    def done(self) -> bool:
        """Whether no thread trains any more."""
        return all(future.done() for future in self._running.values())

    def wait(self) -> None:
        """Return when that is so."""
        for future in self._running.values():
            future.result()

    def stop(self) -> None:
        """Let go of the threads; what they have not trained yet is not trained."""
        for cohort, future in self._running.items():
            if not future.done():
                cohort.stopped.set()
        for threads in (self._threads, self._compiling):
            threads.shutdown(cancel_futures=True)

    def _prepare(self, requests: Sequence[FitRequest]) -> None:
        known, pool = self._known, Pool()
        seen: Seen = {}  # before a fit changes its model
        likenesses = [
            None if request.prepared else known.structures.likeness_of(request, seen)
            for request in requests
        ]
        # A lone fit is compiled here; programs of several while the next ones are lowered.
        compiling = self._compiling if len(requests) > 1 else None
        tools = Tools(known.programs, known.shapes, pool, known.reached, compiling=compiling)
        for number, (request, key) in enumerate(zip(requests, likenesses, strict=True)):
            member = or_error(self._member, request, key, pool)
            if isinstance(member, Exception):
                self._results[number] = member
            else:
                self._number_of[member] = number
        if not self._to_the_bit:  # a fit alone is trained from its beginning
            self._go_on(self._number_of, pool)
        terms = Terms(known.families, known.shapes, self._form, self._room, self._to_the_bit)
        for part in Cutting(terms).parts(list(self._number_of)):
            before = known.programs.compilations
            cohort = or_error(Cohort, part, tools)
            if isinstance(cohort, Exception):  # all fail with it
                self._take(dict.fromkeys(part.everyone, cohort))
            else:
                cohort.n_programs = known.programs.compilations - before
                self._cohorts.append(cohort)
                self._start(cohort)
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Do what can be done while threads train: prepare what comes next, and write down."""
        known = self._known
        are_new = any(cohort.n_programs for cohort in self._cohorts)
        if are_new and self._n_requests > 1:
            requests = [member.request for member in self._number_of]
            known.predictions(self._to_the_bit).foresee(requests, self._compiling)
        known.structures.write()

    def _member(self, request: FitRequest, key: FitLike | None, pool: Pool) -> Member:
        started = time.perf_counter()
        validation = request.validation and pool.shared(request.validation)
        request = replace(request, training=pool.shared(request.training), validation=validation)
        kind = kind_of_member(request)
        structure, state = request.prepared or _of_fit(request, key, self._known.structures)
        member = kind(request, structure, state)
        member.begin()
        member.seconds = time.perf_counter() - started
        return member

    def _go_on(self, members: Iterable[Member], pool: Pool) -> None:
        """Start where an earlier fit was that went the same way, if there was one.

        All that go the same way now start at the same place, since one is trained for all.
        """
        alike: dict[Hashable, list[Member]] = {}
        for member in members:
            few = bytes_of_rows(member.request.training) <= MOST_BYTES_TOLD
            way = way_of(member, pool.content) if few else None
            if way is not None:
                member.way = self._form, way  # forms round differently
                alike.setdefault(member.way, []).append(member)
        for way, several in alike.items():
            least = min(member.request.epochs for member in several)
            earlier = self._known.reached.before(way, least)
            if earlier is not None:
                for member in several:
                    member.go_on_from(earlier)

    def _start(self, cohort: Cohort) -> None:
        """Train it in a thread if it can be, and if that is the way to use all cores."""
        side_by_side = cohort.bytes_meanwhile * _n_cores()
        has_room = cohort.form.name == "stacked" or side_by_side <= self._room
        if jax.default_backend() == "cpu" and has_room and not cohort.calls_user:
            train = partial(_outcomes_under, privates.jax_settings())
            self._running[cohort] = self._threads.submit(train, cohort)

    def _take(self, outcomes: dict[Member, Outcome]) -> None:
        self._results.update({self._number_of[one]: outcome for one, outcome in outcomes.items()})


def prepared(request: FitRequest, known: Known) -> FitRequest:
    """The same with what its model is and computes now, when others may change it.

    What fails here fails again, and is told, when it is trained.
    """
    structures = known.structures
    try:
        key = structures.likeness_of(request, {})
        is_new = not structures.knows(key)
        made = _of_fit(request, key, structures)
    except Exception:
        return request
    if is_new:
        known.predictions(to_the_bit=False).trace(request)
    return replace(request, prepared=made)


def _of_fit(
    request: FitRequest, key: FitLike | None, structures: Structures
) -> tuple[Structure, State]:
    kind = kind_of_member(request)
    return structures.of_fit(request, key, kind.needs_metrics, kind.needs_all_variables)


def or_error(answer: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or the exception that it failed with."""
    try:
        return answer(*arguments)
    except Exception as error:
        return error


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _outcomes_under(jax_settings: dict[Any, Any], cohort: Cohort) -> dict[Member, Outcome]:
    with privates.jax_settings_as(jax_settings):
        return _outcomes(cohort)


def _outcomes(cohort: Cohort) -> dict[Member, Outcome]:
    started = time.perf_counter()
    try:
        cohort.run()
    except Exception as error:  # all fail with it
        return dict.fromkeys(cohort.members, error)
    cohort.seconds += time.perf_counter() - started
    share = cohort.seconds / len(cohort.members)
    return {member: _with_seconds(member, share, one) for member, one in cohort.outcomes.items()}


def _with_seconds(member: Member, share: float, outcome: Outcome) -> Outcome:
    if isinstance(outcome, FitResult):
        return replace(outcome, seconds=member.seconds + share)
    return outcome


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
