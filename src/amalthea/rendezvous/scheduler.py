"""Who is next: the loop that starts tasks, resumes them, and has their requests answered.

It runs where somebody waits for the outermost ``Parallel``.
"""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .. import privates
from ..engine import memory
from . import times
from .admission import Admission
from .ambient import Lent, Scopes
from .tasks import FIT, PREDICT, Task, current_task, frames

MOST_AT_ONCE = 4096  # tasks: more train no faster
MANY = 96  # fits that wait, which the device can train while further tasks are started
_PATIENCE = 10.0  # seconds until a scheduler goes on beside another one of this process

# The scheduler whose tasks the process-wide state belongs to. Not a lock: an interrupt between a
# lock's `acquire` and the next line would leave it locked, and nobody would know.
_holder: dict[str, Scheduler] = {}
_left_behind: list[Task] = []  # to be ended on their own thread


class Scheduler:
    """The tasks of an outermost call, and of all calls nested in it.

    A ready task goes first, and of several the first in order. Then predictions are answered, all
    at once; then the next task is started, if there is room for it; and only when nothing else
    can be done are the fits trained, so that as many as possible train together. But where many
    wait and the trainer expects that the others will be trained by the same programs, it begins
    with them while further tasks are started. At the end it trains the last ones while those that
    were trained before go on to their predictions.
    """

    def __init__(self, max_memory: int | None = None) -> None:
        self._admission = Admission(max_memory)
        self._queued: list[tuple[tuple[int, ...], Task]] = []
        self._ready: list[tuple[tuple[int, ...], Task]] = []
        self._waiting: dict[str, dict[tuple[int, ...], Task]] = {FIT: {}, PREDICT: {}}
        self._begun: list[_Begun] = []
        self._asked_at = 0
        self._n_living = 0
        self._impatient = False
        self._lent: Lent | None = None  # what the caller of the outermost tasks has

    def add(self, task: Task) -> None:
        heapq.heappush(self._queued, (task.path, task))

    def weigh(self, task: Task, requests: Sequence[Any]) -> None:
        """Count what a task holds; called where it is about to wait."""
        self._admission.weigh(task, frames(sys._getframe(1)), requests, task.given)

    def step(self) -> None:
        """Do what comes next."""
        if self._ready:
            self._resume(heapq.heappop(self._ready)[1])
        elif self._waiting[PREDICT] and (self._queued or not self._begun):
            self._answer_all(PREDICT)
        elif self._queued and (self._has_room or not (self._waiting[FIT] or self._begun)):
            self._start(*heapq.heappop(self._queued))
            self._begin_with_many()
        elif self._waiting[FIT] or self._begun:
            self._end_fits()
        else:
            raise RuntimeError("A task waits for a task that nobody will run.")

    @property
    def _has_room(self) -> bool:
        return self._n_living < MOST_AT_ONCE and self._admission.has_room

    def _start(self, path: tuple[int, ...], task: Task) -> None:
        if not self._n_living:
            memory.between_waves()
        task.call.living[path] = task
        self._resume(task)

    def _resume(self, task: Task) -> None:
        """Let a task run until it waits or ends, with its own scopes in place."""
        new = not task.started
        try:
            with self._handed_over(task):
                task.step()
        finally:
            if task.started:
                self._n_living += new
                self._settle(task)

    def _settle(self, task: Task) -> None:
        """Put a task that gave the baton back where it belongs."""
        if task.done:
            self._n_living -= 1
            self._admission.forget(task)
            times.correct(task.result, task.began, task.waits)
            task.call.ended(task)
            waiter, task.waiter = task.waiter, None
            if waiter is not None and not waiter.unwinding:
                waiter.share = task.call.take_cost()
                waiter.cost += waiter.share
                heapq.heappush(self._ready, (waiter.path, waiter))
        elif task.kind in self._waiting:  # else for a nested task, or an interrupt was faster
            self._waiting[task.kind][task.path] = task

    @contextmanager
    def _handed_over(self, task: Task) -> Iterator[None]:
        """Let the task have its own state of this thread and of the process.

        Two schedulers of one process take turns at the latter. One that waits for too long goes on
        without: it may be running inside of a task of the other.
        """
        has_turn = not self._impatient and self._has_turn()
        lent = Lent.here()
        is_first = self._lent is None
        if is_first:
            self._lent = lent
        try:
            base = _scopes_of_caller(task, lent.scopes)
            lent.to(task.scopes.over(base) if has_turn else lent.scopes, task.surroundings)
            try:
                yield
            finally:
                now = lent.take_back()
                task.surroundings = now.surroundings
                if has_turn:
                    task.scopes = now.scopes.beyond(base)
                if is_first:
                    self._lent = None
        finally:
            if has_turn and current_task() is None:
                self.end_turn()

    def _has_turn(self) -> bool:
        if current_task() is not None:  # the scheduler of that task has it
            return True
        until = time.monotonic() + _PATIENCE
        while _holder.setdefault("holder", self) is not self:
            if time.monotonic() > until:
                self._impatient = True
                return False
            time.sleep(0.001)
        return True

    def _end_those_left_behind(self) -> None:
        """End what another thread would have ended, and could not, since it belongs to this one."""
        for task in [one for one in _left_behind if not one.is_elsewhere]:
            _left_behind.remove(task)
            self._resume(task)
        _left_behind[:] = [task for task in _left_behind if task.thread.is_alive()]

    def settle(self) -> None:
        """Called when nothing runs any more: restore what an interrupt has kept from the caller."""
        if self._lent is not None:
            self._lent.take_back()
            self._lent = None
        if _left_behind:
            self._end_those_left_behind()
        self.end_turn()

    def end_turn(self) -> None:
        if _holder.get("holder") is self:
            _holder.pop("holder", None)

    def _begin_with_many(self) -> None:
        """Begin with the fits that wait while there are more to come; after every so many asked.

        While it is still at those before, more of them wait: then they train side by side.
        """
        n_waiting = len(self._waiting[FIT])
        at_others = bool(self._begun) and not self._begun[-1].training.done
        if self._queued and n_waiting >= MANY + self._asked_at and not at_others:
            self._asked_at = n_waiting
            self._begin()

    def _begin(self, last: bool = False) -> None:
        """Have the trainer begin with the fits that wait, if it can."""
        waiting = self._waiting[FIT]
        tasks = [waiting[path] for path in sorted(waiting)]
        begin = getattr(tasks[0].call.trainer, "begin", None)
        if begin is None or len(_alike(tasks)) > 1:
            return
        if self._begun:  # one after the other: each may take all the memory that there is for it
            self._begun[-1].training.wait()
        with privates.jax_settings_as(tasks[0].jax), memory.waves():
            try:
                training = begin([request for task in tasks for request in task.requests], last)
            except Exception:  # it comes again, and is told, when they are trained
                return
        if training is not None:
            self._begun.append(_Begun(_with_counts(tasks), training))
            self._waiting[FIT], self._asked_at = {}, 0

    def _end_fits(self) -> None:
        """Answer the fits that were begun first, while the trainer is at the others.

        Where there are no others, or it cannot, all are answered before a task goes on.
        """
        self._asked_at = 0
        if self._begun and self._waiting[FIT]:  # first, so that the device has something to do
            self._begin(last=True)
        if len(self._begun) > 1:
            self._answer_begun(self._begun[0])
            return
        for begun in list(self._begun):
            self._answer_begun(begun)
        self._answer_all(FIT)

    def _answer_begun(self, begun: _Begun) -> None:
        """Wait for what was begun, and give the answers to those who still want them."""
        started = time.perf_counter()
        (task, _), *_ = begun.tasks
        with privates.jax_settings_as(task.jax), memory.waves():
            answers = _ask(begun.training.answers, sum(count for _, count in begun.tasks))
        self._begun.remove(begun)
        self._give(begun.tasks, answers, time.perf_counter() - started, begun.forgotten)

    def _answer_all(self, kind: str) -> None:
        waiting, self._waiting[kind] = self._waiting[kind], {}
        for tasks in _alike([waiting[path] for path in sorted(waiting)]):
            self._answer(kind, tasks)

    def _answer(self, kind: str, tasks: list[Task]) -> None:
        """Have one trainer answer all these tasks at once, under the JAX settings they share."""
        requests = [request for task in tasks for request in task.requests]
        trainer = tasks[0].call.trainer
        began = time.perf_counter()
        with privates.jax_settings_as(tasks[0].jax), memory.waves():
            answer = trainer.train if kind == FIT else trainer.predict
            answers = _ask(partial(answer, requests), len(requests))
        self._give(_with_counts(tasks), answers, time.perf_counter() - began)

    def _give(
        self,
        tasks: list[tuple[Task, int]],
        answers: list[Any],
        seconds: float,
        forgotten: Set[tuple[int, ...]] = frozenset(),
    ) -> None:
        each = seconds / len(answers)
        for task, n_requests in tasks:
            own, answers = answers[:n_requests], answers[n_requests:]
            if task.path in forgotten:
                continue
            task.answer = own
            task.share = sum(getattr(answer, "seconds", 0.0) or each for answer in task.answer)
            task.cost += task.share
            heapq.heappush(self._ready, (task.path, task))

    def end(self, task: Task) -> None:
        """Unwind a task that was started; it may be running, when an interrupt came."""
        task.unwinding = True
        if task.started and not task.done:
            if task.is_elsewhere:
                _left_behind.append(task)
            else:
                self._resume(task)
        task.call.living.pop(task.path, None)

    def set_aside(self, path: tuple[int, ...], after: int) -> None:
        """Let those tasks of a call that come after a failed one wait until they are ended."""
        depth = len(path)
        self._keep(lambda p: p[:depth] != path or p[depth] <= after)

    def drop(self, path: tuple[int, ...]) -> None:
        """Forget what was to be done for the tasks of a call, and those nested in them."""
        self._keep(lambda p: p[: len(path)] != path)

    def _keep(self, wanted: Any) -> None:
        for heap in (self._queued, self._ready):
            heap[:] = [(path, task) for path, task in heap if wanted(path)]
            heapq.heapify(heap)
        for kind, waiting in self._waiting.items():
            self._waiting[kind] = {path: task for path, task in waiting.items() if wanted(path)}
        for begun in self._begun:
            begun.forgotten.update(task.path for task, _ in begun.tasks if not wanted(task.path))
        for begun in [one for one in self._begun if len(one.forgotten) == len(one.tasks)]:
            self._begun.remove(begun)
            begun.training.stop()


@dataclass(eq=False)
class _Begun:
    """Tasks whose fits are being trained, how many each has, and who does not wait any more."""

    tasks: list[tuple[Task, int]]
    training: Any
    forgotten: set[tuple[int, ...]] = field(default_factory=set)


def _scopes_of_caller(task: Task, now: Scopes) -> Scopes:
    parent = task.call.parent
    if parent is None or parent is current_task():
        return now
    return parent.scopes.over(_scopes_of_caller(parent, now))


def _alike(tasks: Sequence[Task]) -> list[list[Task]]:
    """Tasks that ask the same trainer under the same settings of JAX."""
    groups: list[list[Task]] = []
    for task in tasks:
        for group in groups:
            if group[0].call.trainer is task.call.trainer and group[0].jax == task.jax:
                group.append(task)
                break
        else:
            groups.append([task])
    return groups


def _with_counts(tasks: Sequence[Task]) -> list[tuple[Task, int]]:
    return [(task, len(task.requests)) for task in tasks]


def _ask(answer: Callable[[], Sequence[Any]], n_requests: int) -> list[Any]:
    """An error of the trainer itself is every request's error, as it would be one at a time."""
    try:
        answers = list(answer())
    except Exception as error:
        return [error] * n_requests
    if len(answers) != n_requests:
        wrong = RuntimeError(f"{n_requests} requests got {len(answers)} answers.")
        return [wrong] * n_requests
    return answers
