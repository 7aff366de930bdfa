"""A task: a call on a stack of its own, which runs only while it holds the baton.

All tasks run on the thread of their caller, each as a greenlet: whoever resumes a task goes on when
it gives the baton back, because it ended or because it waits for something. So exactly one of them
runs at any time, in an order that is always the same, and on the processor whose caches hold what
they share. A change of threads in place of that of a greenlet takes a hundred times as long.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from greenlet import getcurrent, greenlet

from ..engine import seeding
from ..engine.trainer import training_with
from .ambient import NOTHING, Scopes, Surroundings
from .borrowed import of_ones_own

FIT, PREDICT, JOIN = "fit", "predict", "join"
_MOST_THROWS = 100

_here = threading.local()


class Unwind(BaseException):
    """Thrown where a task waits, to end it: its ``finally`` blocks and context managers run."""


def current_task() -> Task | None:
    """The task that runs on this thread."""
    return getattr(_here, "task", None)


class Task:
    """One call, and how far it is.

    Parameters
    ----------
    path : tuple of int
        Its place in the order of all tasks: nested ones stand after their parent, before the next.
    function : callable
        Called without arguments.
    call : Call
        The ``joblib.Parallel`` call that it belongs to.
    callback : callable
        What joblib wants to be called when the task is done.
    """

    _stack: greenlet | None = None  # also of one that an interrupt kept from being made

    def __init__(
        self, path: tuple[int, ...], function: Callable[[], Any], call: Any, callback: Any
    ) -> None:
        self.path = path
        self.function: Callable[[], Any] | None = function
        self.call = call
        self.callback = callback
        self.surroundings = Surroundings.copied()
        self.scopes: Scopes = NOTHING
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.waiter: Task | None = None
        self.calls_made = 0
        self.nested: list[Any] = []  # those of its calls that are still open
        # while it waits
        self.kind = ""
        self.requests: Sequence[Any] = ()
        self.answer: Any = None
        self.share = 0.0
        # what it cost
        self.began = 0.0
        self.cost = 0.0
        self.waits: list[tuple[float, float, float]] = []
        self.unwinding = False
        self._thrown = 0
        self._process, self.thread = os.getpid(), threading.current_thread()
        self._context = contextvars.copy_context()
        self._place: greenlet | None = None  # where it goes on: its own stack, or one of its own

    def get(self, timeout: float | None = None) -> Any:
        """joblib's way to ask for the result: waits for it, or raises what the task raised."""
        self.call.wait_for(self)
        if self.unwinding:
            raise RuntimeError("This task was ended before it had a result.")
        result, self.result = self.result, None
        error, self.error = self.error, None
        if error is None:
            return result
        try:
            raise error
        finally:
            del error

    @property
    def started(self) -> bool:
        return self._stack is not None

    @property
    def jax(self) -> dict[Any, Any]:
        """The settings of JAX under which it waits."""
        return self.surroundings.jax

    @property
    def given(self) -> list[Any]:
        """The arguments, which its caller holds too."""
        items = getattr(self.function, "items", ())
        return [value for _, args, kwargs in items for value in (*args, *kwargs.values())]

    @property
    def is_elsewhere(self) -> bool:
        """Whether it belongs to another thread, where alone it can go on."""
        return self.thread is not threading.current_thread()

    # On the stack of whoever holds the baton.

    def step(self) -> None:
        """Hand the baton to this task; returns when it gives it back.

        An interrupt that ended it is raised here too: it was meant for all.
        """
        if self.is_elsewhere:
            raise RuntimeError(
                "The results of a Parallel call can be taken only on the thread that made it."
            )
        before, outer = time.perf_counter(), current_task()
        if self._stack is None:
            self._stack = self._place = greenlet(self._run)
            self._stack.gr_context = self._context
            self.began = time.time()
        assert self._place is not None
        self._stack.parent = getcurrent()
        try:
            _here.task = self
            self._place.switch()
        finally:
            _here.task = outer
            self.cost += time.perf_counter() - before
            if self._stack.dead:
                self._finish()
        if isinstance(self.error, KeyboardInterrupt):
            raise self.error

    def _finish(self) -> None:
        if self.unwinding:
            self.result = self.error = None
        self.function = None
        self.nested.clear()
        self.done = True

    # On its own stack.

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # an interrupt, or of a nested call that was closed
            self.error = self.error or error

    def _work(self) -> None:
        assert self.function is not None
        try:
            with training_with(Waits(self)):
                if self.unwinding:
                    raise Unwind
                self.result = self.function()
        except BaseException as error:
            self.error = error
        for call in list(self.nested):
            call.close()

    def wait(self, kind: str, requests: Sequence[Any] = ()) -> Any:
        """Give the baton back until there is an answer; returns it."""
        if self.unwinding:
            self._thrown += 1
            raise Unwind
        assert self._stack is not None and self._stack.parent is not None
        began = time.time()
        self.kind, self.requests, self._place = kind, requests, getcurrent()
        self._stack.parent.switch()
        self.waits.append((began, time.time(), self.share))
        self.requests = ()
        if self.unwinding:
            self._thrown += 1
            raise Unwind
        answer, self.answer = self.answer, None
        return answer

    @property
    def can_wait(self) -> bool:
        """Whether it may give the baton back where it is now.

        Not on another thread, nor in a process that was forked from it; not where it holds the
        global generators, since all others would wait for it; not below code of SciPy: its
        routines in C and Fortran keep the function that they call in one place for each thread.
        And not where it goes on asking however often it was told to end.
        """
        if current_task() is not self or os.getpid() != self._process:
            return False
        if seeding.held() or self._thrown > _MOST_THROWS:
            return False
        return not any(_is_of_scipy(frame) for frame in frames(sys._getframe(1)))


def frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of a task from this one outwards, without those of its own machinery."""
    while frame is not None and frame.f_code is not Task._work.__code__:
        yield frame
        frame = frame.f_back


def _is_of_scipy(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("scipy.")


class Waits:
    """The trainer that a task sees: whoever asks waits until the others are there too."""

    def __init__(self, task: Task) -> None:
        self._task = task

    @property
    def trainer(self) -> Any:
        """The trainer that answers in the end."""
        return self._task.call.trainer

    @property
    def compilations(self) -> int:
        return getattr(self.trainer, "compilations", 0)

    shares_models = True

    def can_keep_model(self, request: Any) -> bool:
        able = getattr(self.trainer, "can_keep_model", None)
        return able is not None and able(request)

    def train(self, requests: Sequence[Any]) -> list[Any]:
        return self._ask(FIT, requests)

    def predict(self, requests: Sequence[Any]) -> list[Any]:
        return self._ask(PREDICT, requests)

    def _ask(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        task = self._task
        waits = getattr(self.trainer, "waits", lambda requests: True)
        if not requests or not task.can_wait or not waits(requests):
            answer = self.trainer.train if kind == FIT else self.trainer.predict
            return answer(requests)
        requests = of_ones_own(requests, task.given)
        prepare = getattr(self.trainer, "prepare", None)
        if kind == FIT and prepare is not None:
            requests = prepare(requests)
        task.call.scheduler.weigh(task, requests)
        return task.wait(kind, requests)
