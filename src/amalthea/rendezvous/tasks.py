"""A task: a call on a thread of its own, which runs only while it holds the baton.

Whoever resumes a task waits until it gives the baton back, because it ended or because it waits
for something. So exactly one of all these threads runs at any time, in an order that is always
the same. ``_its_turn`` says who holds the baton; the two locks only wake the other side, and a
wake-up too many does no harm. That matters when an interrupt strikes between two of these lines.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from .. import privates
from ..engine import seeding
from ..engine.trainer import training_with
from . import interrupts
from .ambient import NOTHING, Scopes, Surroundings
from .borrowed import of_ones_own

FIT, PREDICT, JOIN = "fit", "predict", "join"
_PATIENCE = 0.05  # seconds between two looks at a thread that was interrupted
_MOST_THROWS = 100

_here = threading.local()


class Unwind(BaseException):
    """Thrown where a task waits, to end it: its ``finally`` blocks and context managers run."""


def current_task() -> Task | None:
    """The task whose thread this is."""
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

    def __init__(
        self, path: tuple[int, ...], function: Callable[[], Any], call: Any, callback: Any
    ) -> None:
        self.path = path
        self.function: Callable[[], Any] | None = function
        self.call = call
        self.callback = callback
        self.surroundings: Surroundings | None = Surroundings.here()
        self.scopes: Scopes = NOTHING
        self.random_state: Any = None
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.waiter: Task | None = None
        self.calls_made = 0
        self.nested: list[Any] = []  # those of its calls that are still open
        # while it waits
        self.kind = ""
        self.requests: Sequence[Any] = ()
        self.jax: dict[Any, Any] = {}
        self.answer: Any = None
        self.share = 0.0
        # what it cost
        self.began = 0.0
        self.cost = 0.0
        self.waits: list[tuple[float, float, float]] = []
        self.unwinding = False
        self._thrown = 0
        self._thread: threading.Thread | None = None
        self._its_turn = False
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()

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
        return self._thread is not None

    @property
    def given(self) -> list[Any]:
        """The arguments, which its caller holds too."""
        items = getattr(self.function, "items", ())
        return [value for _, args, kwargs in items for value in (*args, *kwargs.values())]

    # On the thread of whoever holds the baton.

    def step(self) -> None:
        """Hand the baton to this task, and wait until it gives it back."""
        before = time.perf_counter()
        try:
            self._its_turn = True
            if self._thread is None:
                self._start()
            else:
                _wake(self._go)
            while self._its_turn:
                self._back.acquire()
        except BaseException as interrupt:
            self._interrupt(interrupt)
            raise
        finally:
            self.cost += time.perf_counter() - before
            if self.done and self._thread is not None:
                self._thread.join()

    def _start(self) -> None:
        self.began = time.time()
        thread = threading.Thread(target=self._run, name="amalthea-task", daemon=True)
        # An interrupt inside of `start` would leave its locks locked: it comes a little later.
        with interrupts.deferred():
            thread.start()
            self._thread = thread

    def _interrupt(self, error: BaseException) -> None:
        """Raise in the running task too, and wait until it has given the baton back."""
        thread = self._thread
        if thread is None or thread.ident is None:
            return
        kind = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else Unwind
        sent = False
        while self._its_turn and thread.is_alive():
            try:
                if not sent:
                    privates.raise_in_thread(thread.ident, kind)
                    sent = True
                _wake(self._go)
                self._back.acquire(timeout=_PATIENCE)
            except BaseException:  # interrupted once more
                sent = False
        if sent:
            privates.raise_in_thread(thread.ident, None)

    # On the thread of the task.

    def _run(self) -> None:
        assert self.surroundings is not None
        surroundings = self.surroundings
        try:
            while not self._its_turn:
                self._go.acquire()
            surroundings.context.run(self._work, surroundings)
        except BaseException as error:  # an interrupt, in the lines around the call
            self.error = self.error or error
        del surroundings
        while not self.done:
            try:
                self._finish()
            except BaseException:  # an interrupt that comes too late
                continue

    def _work(self, surroundings: Surroundings) -> None:
        _here.task = self
        assert self.function is not None
        try:
            surroundings.settle()
            self._take_random_state()
            with privates.jax_settings_as(surroundings.jax), training_with(Waits(self)):
                del surroundings
                if self.unwinding:
                    raise Unwind
                self.result = self.function()
        except BaseException as error:
            self.error = error
        for call in list(self.nested):
            call.close()

    def _finish(self) -> None:
        if self.unwinding:
            self.result = self.error = None
        self.function = self.surroundings = None
        self.nested.clear()
        self._keep_random_state()
        _here.task = None
        self.done = True
        self._its_turn = False
        _wake(self._back)

    def wait(self, kind: str, requests: Sequence[Any] = ()) -> Any:
        """Give the baton back until there is an answer; returns it."""
        if self.unwinding:
            self._thrown += 1
            raise Unwind
        began = time.time()
        self.kind, self.requests = kind, requests
        self.jax = privates.jax_settings()
        self._keep_random_state()
        self._give_back()
        self._take_random_state()
        self.waits.append((began, time.time(), self.share))
        self.requests = ()
        if self.unwinding:
            self._thrown += 1
            raise Unwind
        answer, self.answer = self.answer, None
        return answer

    def _give_back(self) -> None:
        given = False
        while True:
            try:
                if not given:
                    self._its_turn, given = False, True
                    _wake(self._back)
                while not self._its_turn:
                    self._go.acquire()
                return
            except BaseException:  # an interrupt meant for the time before, or after
                if not given or self._its_turn:
                    raise

    @property
    def will_not_end(self) -> bool:
        """Whether it goes on asking however often it was told to end."""
        return self._thrown > _MOST_THROWS

    def _take_random_state(self) -> None:
        if self.random_state is not None:
            privates.set_keras_state(self.random_state)

    def _keep_random_state(self) -> None:
        self.random_state = privates.keras_state()


def frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of a task from this one outwards, without those of its own machinery."""
    while frame is not None and frame.f_code is not Task._work.__code__:
        yield frame
        frame = frame.f_back


def _wake(lock: Any) -> None:
    try:
        lock.release()
    except RuntimeError:
        pass  # nobody had fallen asleep on it


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
        # Another thread that the task started has no place to wait, and a task that holds the
        # global generators would have all others wait for it.
        at_once = current_task() is not task or seeding.held() or task.will_not_end
        if not requests or at_once:
            answer = self.trainer.train if kind == FIT else self.trainer.predict
            return answer(requests)
        requests = of_ones_own(requests, task.given)
        task.call.scheduler.weigh(task, requests)
        return task.wait(kind, requests)
