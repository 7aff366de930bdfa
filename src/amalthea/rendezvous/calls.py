"""One ``joblib.Parallel`` call: its tasks in order, and what joblib wants to hear of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..engine.trainer import Trainer
from .scheduler import Scheduler
from .tasks import JOIN, Task, current_task

_MOST_TRIES = 100  # to end one task, while interrupts come


class Call:
    """The tasks of one call.

    Parameters
    ----------
    scheduler : Scheduler
        Runs them; a call made inside a task shares that task's.
    parent : Task or None
        The task that made the call.
    trainer : Trainer
        Answers what they ask for.
    """

    def __init__(self, scheduler: Scheduler, parent: Task | None, trainer: Trainer) -> None:
        self.scheduler = scheduler
        self.parent = parent
        self.trainer = trainer
        self.path: tuple[int, ...] = ()
        self.cost = 0.0  # of its finished tasks; the parent takes it as its own
        self.living: dict[tuple[int, ...], Task] = {}  # those that were started
        self._finished: deque[Task] = deque()
        self._failed = False
        self._n_tasks = 0
        if parent is not None:
            parent.calls_made += 1
            self.path = (*parent.path, parent.calls_made)
            parent.nested.append(self)

    def submit(self, function: Callable[[], Any], callback: Any) -> Task:
        """Make a task; it is started when it is its turn."""
        task = Task((*self.path, self._n_tasks), function, self, callback)
        self._n_tasks += 1
        self.scheduler.add(task)
        return task

    def wait_for(self, task: Task) -> None:
        """Return when the task is done, or when it never will be."""
        self._report()
        while not task.done and not task.unwinding:
            if self.parent is None:
                self.scheduler.step()
            elif current_task() is self.parent:
                self._join(task)
            else:
                raise RuntimeError(
                    "The results of a Parallel call that was made inside a task can be taken only "
                    "by that task, and before it ends."
                )
            self._report()

    def _join(self, task: Task) -> None:
        assert self.parent is not None
        task.waiter = self.parent
        self.scheduler.weigh(self.parent, ())
        self.parent.wait(JOIN)

    def ended(self, task: Task) -> None:
        """A task gave the baton back for the last time."""
        self.living.pop(task.path, None)
        self.cost += task.cost
        if task.error is not None and not task.unwinding:
            self._failed = True
            self.scheduler.set_aside(self.path, after=task.path[-1])
        self._finished.append(task)

    def take_cost(self) -> float:
        """What its tasks have cost since this was last asked."""
        cost, self.cost = self.cost, 0.0
        return cost

    def _report(self) -> None:
        """Tell joblib what was done, whereupon it submits more: on the thread of the caller."""
        while self._finished:
            task = self._finished.popleft()
            callback, task.callback = task.callback, None
            # After a failure nothing more is wanted: joblib raises when it comes to that task.
            if not self._failed:
                callback(task)

    def abort(self) -> None:
        """End all tasks, at the place where they wait; the call can be used again."""
        self.scheduler.drop(self.path)
        interrupt: BaseException | None = None
        tries = 0
        while self.living and tries < _MOST_TRIES:
            try:
                self.scheduler.end(self.living[min(self.living)])
                tries = 0
            except BaseException as error:  # an interrupt: first end the others too
                interrupt, tries = error, tries + 1
        self._finished.clear()
        self._failed = False
        if self.parent is None:
            self.scheduler.settle()
        if interrupt is not None:
            raise interrupt

    def close(self) -> None:
        """As :meth:`abort`, for the last time."""
        if self.parent is not None and self in self.parent.nested:
            self.parent.nested.remove(self)
        self.abort()
