"""joblib's side: the backend ``"lockstep"``.

joblib shares one backend object among all ``Parallel`` calls of a block. Each of them is handed a
backend of its own (:class:`OneCall`), which knows which tasks are its.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import joblib
from joblib.parallel import ParallelBackendBase

from ..engine.forms import Engine
from ..engine.trainer import Trainer, chosen_trainer
from ..privates import FallbackToBackend
from .calls import Call
from .options import Options
from .scheduler import Scheduler
from .tasks import Task, Waits, current_task

WAVE = 256  # joblib queues twice as many, scikit-learn cuts some work into as many parts


class LockstepBackend(ParallelBackendBase):
    """Runs the tasks of all calls, nested ones too, so that their fits train together.

    Parameters
    ----------
    nesting_level, inner_max_num_threads
        joblib's.
    form, max_memory
        As in :func:`amalthea.lockstep`.
    """

    supports_sharedmem = True
    uses_threads = True
    supports_retrieve_callback = False  # results come when they are asked for
    supports_return_generator = True
    supports_timeout = False

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        form: str | None = None,
        max_memory: int | None = None,
    ) -> None:
        super().__init__(
            nesting_level=nesting_level or 0, inner_max_num_threads=inner_max_num_threads
        )
        self.options = Options(form, max_memory)
        self.trainer = self.options.trainer()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """The same whatever ``n_jobs`` is, so that no result depends on it."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        return WAVE

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        raise FallbackToBackend(OneCall(self))

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Task:
        raise RuntimeError("The backend was not configured by joblib.Parallel.")

    def apply_async(self, func: Callable[[], Any], callback: Any = None) -> Task:
        """The name of ``submit`` in joblib 1.4."""
        return self.submit(func, callback)


class OneCall(LockstepBackend):
    """The backend of one ``Parallel`` call, or of several inside of one ``with`` block.

    Parameters
    ----------
    shared : LockstepBackend
        The backend that the user chose.
    """

    def __init__(self, shared: LockstepBackend) -> None:
        super().__init__(shared.nesting_level)
        self._shared = shared
        self._call: Call | None = None
        self._n_jobs: int | None = None

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        if self._call is not None:  # a Parallel that is called again
            raise FallbackToBackend(OneCall(self._shared))
        if getattr(parallel, "return_as", "list") == "generator_unordered":
            raise ValueError(
                "The joblib backend 'lockstep' does not support return_as='generator_unordered': "
                "its results come in order. Use return_as='generator'."
            )
        n_workers = self.effective_n_jobs(n_jobs)
        self._n_jobs = joblib.parallel.get_active_backend()[1]
        self._call = self._new_call()
        return n_workers

    def _new_call(self) -> Call:
        parent = current_task()
        trainer = self._shared.trainer or _who_answers(chosen_trainer() or Engine())
        if parent is None or not parent.can_wait:  # one that cannot sees to its tasks itself
            return Call(Scheduler(self._shared.options.max_memory), None, trainer)
        return Call(parent.call.scheduler, parent, trainer)

    @property
    def _open_call(self) -> Call:
        if self._call is None:
            raise RuntimeError("The backend was not configured by joblib.Parallel.")
        return self._call

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Task:
        return self._open_call.submit(func, callback)

    def retrieve_result(self, out: Any, timeout: float | None = None) -> Any:
        return out.get()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        if self._call is not None:
            self._call.abort()

    def terminate(self) -> None:
        if self._call is not None:
            self._call.close()

    def get_nested_backend(self) -> tuple[LockstepBackend, int | None]:
        return self._shared, self._n_jobs


def _who_answers(trainer: Trainer) -> Trainer:
    return trainer.trainer if isinstance(trainer, Waits) else trainer
