"""Training a cohort: fits that share a program, epoch by epoch.

Fits that are done leave: their state is taken at the end of their last epoch, and when enough of
them are gone, the rest moves together into a smaller program.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np

from .choice import Form, epochs_at_once, shrinks_to
from .costs import work_of_epoch
from .data import bytes_of_rows
from .epochs import FORMS, STEPS_AHEAD, Epoch, Tools, host_epoch
from .lanes import Lanes, Lone, Stacked, in_common
from .members import Change, EpochLogs, Look, Member, RunLogs
from .part import Part
from .reached import point
from .requests import FitResult
from .runs import Run, Side
from .steps import Address, State, as_copies

Outcome = FitResult | Exception


class Cohort:
    """Members of one structure, or of one family of structures, with equally many batches.

    A program may have more lanes than there are members, so that it serves other cohorts too. The
    lanes that are left over go along with the last member, and nothing is read from them.
    ``seconds`` is what preparing it took, and when it is done, what it took; ``bytes`` are those of
    its program, and ``n_programs`` were compiled for it.
    """

    def __init__(self, part: Part, tools: Tools) -> None:
        members, form = part.everyone, part.form
        self.part, self.members, self.form = part, members, form
        self._places = part.family.places
        self.n_programs, self.bytes = 0, 0.0
        self._lead = {one: lead for lead, others in part.followers.items() for one in others}
        self.outcomes: dict[Member, Outcome] = {}
        self.stopped = Event()  # another thread may set it
        started = time.perf_counter()
        self._structure = part.family.structure
        self._tools = replace(tools, effort=form.effort, is_stopped=self.stopped.is_set)
        self._train: Epoch | None = None
        self._test: Epoch | None = None
        self._several: Run | None = None  # in place of these two, where nobody looks
        states = {member: member.take_state() for member in members}
        self._move_in(members, [states[member] for member in part.members], form)
        self.seconds = time.perf_counter() - started

    def run(self) -> None:
        """Train all members; ``outcomes`` has what became of each."""
        self._leave_all([member for member in self._here if member.done])
        while self._here and not self.stopped.is_set():
            if self._several is None:
                self._epoch()
            else:
                self._epochs(self._several)
            self._leave_all([member for member in self._here if member.done])
            self._shrink()
        if self._several is not None:
            self.bytes = self._several.bytes
        del self._state, self._train, self._test, self._several

    @property
    def calls_user(self) -> bool:
        """Whether code of a user is called while it trains."""
        of_host = work_of_epoch(self._structure, self.members[0]).calls_host
        return of_host or any(member.request.callbacks for member in self.members)

    @property
    def bytes_meanwhile(self) -> float:
        """What it takes while it trains: its lanes, and batches that wait for their step."""
        bytes_of_lanes = self.part.bytes_each * self.form.lanes
        if self.form.name != "steps":
            return bytes_of_lanes
        request = self.members[0].request
        a_row = bytes_of_rows(request.training) / max(len(request.training), 1)
        return bytes_of_lanes + (STEPS_AHEAD + 1) * a_row * request.batch_size

    def _leads(self, members: Sequence[Member]) -> list[Member]:
        """Those that have a lane of their own; the others go the same way for a while."""
        return [member for member in members if member not in self._lead]

    def _move_in(self, members: list[Member], states: list[State], form: Form) -> None:
        """``states`` of those that have lanes of their own."""
        self._take_seats(members, form)
        most = self._epochs_at_once(form)
        # Where epochs are looked at one by one, a callback may change the state of a lane.
        self._join(states, form, may_have_common=most > 1)
        self._train, self._test, self._several = None, None, None
        structure, tools = self._structure, self._tools
        training, held = self._sides()
        if most > 1:
            self._several = Run(
                structure,
                training,
                held,
                self._state,
                tools,
                stacked=form.name == "stacked",
                most=most,
                common=self._common,
            )
            return
        make = FORMS[form.name]
        self._train = make(structure.train, training.rows, training.sizes, self._state, tools)
        if structure.test is not None and held is not None:
            self._test = make(structure.test, held.rows, held.sizes, self._state, tools)

    def _take_seats(self, members: list[Member], form: Form) -> None:
        """A lane for each member; lanes that are left over go along with the last."""
        self._here, leads = list(members), self._leads(members)
        lanes = {member: lane for lane, member in enumerate(leads)}
        self._lane = {member: lanes[self._lead.get(member, member)] for member in members}
        self._seats = [*leads, *[leads[-1]] * (form.lanes - len(leads))]

    def _join(self, states: list[State], form: Form, may_have_common: bool) -> None:
        """The states of all lanes as one."""
        places = [self._places[seat.structure.key] for seat in self._seats]
        states = [*states, *[states[-1]] * (len(places) - len(states))]
        self._common: frozenset[Address] = frozenset()
        if form.name == "stacked":
            if may_have_common:
                self._common = in_common(self._structure.by_themselves, places, states)
            self._lanes: Lanes = Stacked(places, self._common)
        else:
            self._lanes = Lone(*places)
            states = list(map(as_copies, states))  # the arrays are the model's
        self._state = self._lanes.join(states)

    def _sides(self) -> tuple[Side, Side | None]:
        """The rows that are trained on, and those that are looked at after each epoch."""
        requests = [seat.request for seat in self._seats]
        training = Side(
            [request.training for request in requests],
            [request.batch_size for request in requests],
            one_order=len({self._order_and_size(seat) for seat in self._seats}) == 1,
        )
        held = [request for request in requests if request.validation]
        if not held:
            return training, None
        return training, Side(
            [request.validation for request in held if request.validation],
            [request.validation_batch_size for request in held],
        )

    def _epochs_at_once(self, form: Form) -> int:
        looked_at = any(seat.sees_every_epoch for seat in self._seats)
        if not form.may_round or form.name == "steps" or looked_at:
            return 1
        if self._seats[0].request.validation_freq != 1:
            return 1
        return epochs_at_once(self._structure, self._seats, form.lanes)

    def _epochs(self, several: Run) -> None:
        """As many epochs as all members have left, and as one call takes."""
        n_epochs = min(several.most, *(member.n_epochs_left for member in self._here))
        # A fit that is done keeps its lane, and knows no further orders.
        seats = self._leads(self._here)[:1] if several.one_order else self._seats
        orders = [self._orders(seats, ahead) for ahead in range(n_epochs)]
        state = self._state._replace(metrics=self._structure.no_metrics)
        self._state, training, held = several(state, orders)
        logs = RunLogs(training, self._lanes, n_epochs)
        of_held = RunLogs(held, self._lanes, n_epochs) if held else None
        for member in self._here:
            member.end_epochs(n_epochs, logs, of_held, self._lane[member])

    def _epoch(self) -> None:
        assert self._train is not None
        self._let_each(lambda member: member.begin_epoch(self._look(member)))
        if not self._here:  # all have failed
            return
        repeats = any(member.may_stop_within_epoch for member in self._here)
        before = self._begun()
        given = self._given(before, keeping=repeats or self._is_in_model)
        self._state, logs, losses = self._train(given, self._orders(self._seats))
        logs_of = self._break_off(before, EpochLogs(logs, self._lanes), losses)
        held = self._validate()

        def end_epoch(member: Member) -> Change:
            lane = self._lane[member]
            return member.end_epoch(self._look(member), logs_of(member), held, lane)

        self._let_each(end_epoch)

    @property
    def _is_in_model(self) -> bool:
        """Whether a model has the arrays of the state, for callbacks that look at it."""
        return any(member.needs_all_variables for member in self._here)

    def _begun(self) -> State:
        """The state, with metrics as they are at the beginning of an epoch."""
        return self._state._replace(metrics=self._structure.no_metrics)

    def _given(self, state: State, keeping: bool) -> State:
        """What to give to a program: with ``keeping``, the state is there afterwards too."""
        return as_copies(state) if keeping and self.form.name != "stacked" else state

    def _orders(self, seats: Sequence[Member], ahead: int = 0) -> list[np.ndarray]:
        """The rows of each, so many epochs ahead; fits with the same seed take them alike."""
        keys = [self._order_key(seat, ahead) for seat in seats]
        known: dict[Any, np.ndarray] = {}
        for key, seat in zip(keys, seats, strict=True):
            if key not in known:
                known[key] = seat.order_of(seat.epoch + ahead)
        return [known[key] for key in keys]

    def _order_key(self, member: Member, ahead: int) -> Any:
        request = member.request
        return member.epoch + ahead, request.seed, request.shuffle, len(request.training)

    def _order_and_size(self, member: Member) -> Any:
        return self._order_key(member, 0), member.request.batch_size

    def _validate(self) -> EpochLogs | None:
        if self._test is None or not any(member.validates for member in self._here):
            return None
        self._let_each(lambda member: member.begin_validation(self._look(member)))
        if not self._here:
            return None
        rows = [np.arange(len(seat.request.validation or ())) for seat in self._seats]
        given = self._given(self._begun(), keeping=self._is_in_model)
        self._state, logs, _ = self._test(given, rows)
        held = EpochLogs(logs, self._lanes)
        self._let_each(
            lambda member: member.end_validation(self._look(member), held, self._lane[member])
        )
        return held

    def _break_off(
        self, before: State, logs: EpochLogs, losses: Any
    ) -> Callable[[Member], EpochLogs]:
        """Take the batches back that a member would not have trained on; logs by member."""
        special: dict[Member, EpochLogs] = {}

        def after(member: Member) -> Change:
            lane = self._lane[member]
            count = member.request.n_batches
            values = lambda: np.asarray(self._lanes.values(np.asarray(losses), lane))[:count]  # noqa: E731
            n_batches = member.stops_after(values)
            if n_batches is None or n_batches == len(values()):
                return Change()
            state = self._lanes.state(before, lane)._replace(metrics=before.metrics)
            request, steps = member.request, member.structure.train
            again = host_epoch(steps, [request.training], [request.batch_size], state, self._tools)
            rows = member.order[: n_batches * request.batch_size]
            state, by_name, _ = again(state, [rows])
            special[member] = EpochLogs(by_name, Lone())
            return Change(state=state)

        self._let_each(after)
        return lambda member: special.get(member, logs)

    def _let_each(self, act: Callable[[Member], Change]) -> None:
        """Let every member act; one that fails is out, and the others go on."""
        for member in list(self._here):
            try:
                change = act(member)
            except Exception as error:
                self.outcomes[member] = error
                self._here.remove(member)
            else:
                self._state = change.apply(self._lanes, self._state, self._lane[member])

    def _look(self, member: Member) -> Look:
        state, lane = self._state, self._lane[member]
        return lambda: self._lanes.state(state, lane)

    def _leave_all(self, members: list[Member]) -> None:
        if members:
            state = self._lanes.fetched(self._state)
            for member in members:
                own = self._lanes.state(state, self._lane[member])
                if self._lead:  # others go on from the same arrays, or leave with them too
                    own = State(*([np.array(value) for value in group] for group in own))
                self._leave(member, own)

    def _leave(self, member: Member, state: State) -> None:
        self._here.remove(member)
        try:
            result = member.finish(state)
            self.outcomes[member] = replace(result, form=self.form.name)
            if member.way is not None and result.epochs:
                here = point(member.epoch, state, result.history, result.epochs)
                self._tools.reached.add(member.way, here)
        except Exception as error:
            self.outcomes[member] = error

    def _shrink(self) -> None:
        if not self._here or len(self._seats) == 1:
            return
        leads = self._leads(self._here)
        lanes = shrinks_to(self._structure, leads, len(self._seats))
        if lanes is not None:
            state = self._lanes.fetched(self._state)
            states = [self._lanes.state(state, self._lane[m]) for m in leads]
            states = [s._replace(metrics=self._structure.no_metrics) for s in states]
            self._move_in(self._here, states, replace(self.form, lanes=lanes))
