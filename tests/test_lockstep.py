"""The joblib backend: tasks, their order, what surrounds them, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import io
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import joblib
import keras
import numpy as np
import pytest
import sklearn
from greenlet import greenlet
from joblib import Parallel, delayed

import amalthea
from amalthea import privates
from amalthea.engine import room
from amalthea.engine.seeding import seeded
from amalthea.engine.trainer import current_trainer, training_with
from amalthea.errors import InvalidParameter
from amalthea.rendezvous import admission
from amalthea.rendezvous.backend import WAVE, LockstepBackend
from amalthea.rendezvous.tasks import Task
from amalthea.rendezvous.times import correct


class Echo:
    """Answers each request with itself, and notes which came together."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any]]] = []

    def train(self, requests: Sequence[Any]) -> list[Any]:
        return self._answer("fit", requests)

    def predict(self, requests: Sequence[Any]) -> list[Any]:
        return self._answer("predict", requests)

    def _answer(self, kind: str, requests: Sequence[Any]) -> list[Any]:
        self.calls.append((kind, list(requests)))
        return list(requests)


@pytest.fixture
def echo() -> Iterator[Echo]:
    trainer = Echo()
    with training_with(trainer), amalthea.lockstep():
        yield trainer
    assert living_tasks() == []


def living_tasks() -> list[Task]:
    """Those that were started and have not ended."""
    tasks = [thing for thing in gc.get_objects() if isinstance(thing, Task)]
    return [task for task in tasks if task.started and not task.done]


def fit(request: Any) -> Any:
    (answer,) = current_trainer().train([request])
    if isinstance(answer, Exception):
        raise answer
    return answer


def predict(request: Any) -> Any:
    return current_trainer().predict([request])[0]


def fit_and_predict(request: Any) -> Any:
    return fit(request), predict(request)


def each(function: Any, values: Any, **settings: Any) -> Any:
    return Parallel(**settings)(delayed(function)(value) for value in values)


# -- together, and in order


def test_all_fits_come_in_one_call_and_all_predictions_in_another(echo: Echo) -> None:
    assert each(fit_and_predict, range(5)) == [(i, i) for i in range(5)]
    assert echo.calls == [("fit", [0, 1, 2, 3, 4]), ("predict", [0, 1, 2, 3, 4])]


def test_nested_calls_fuse(echo: Echo) -> None:
    def outer(i: int) -> Any:
        return each(fit_and_predict, [(i, j) for j in range(3)], n_jobs=2)

    expected = [(i, j) for i in range(3) for j in range(3)]
    assert each(outer, range(3)) == [[((i, j), (i, j)) for j in range(3)] for i in range(3)]
    assert echo.calls == [("fit", expected), ("predict", expected)]


def test_deep_nesting(echo: Echo) -> None:
    def deep(path: tuple[int, ...]) -> Any:
        return fit(path) if len(path) == 5 else each(deep, [(*path, i) for i in range(2)])

    each(deep, [(0,), (1,)])
    ((_, paths),) = echo.calls
    assert len(paths) == 32 and paths == sorted(paths)


def test_tasks_without_a_fit_just_run_and_keras_is_not_needed() -> None:
    results = Parallel(n_jobs=4, backend="lockstep")(delayed(abs)(-i) for i in range(5))
    assert results == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("n_jobs", [None, 1, 2, -1])
def test_n_jobs_changes_nothing(echo: Echo, n_jobs: int | None) -> None:
    each(fit, range(4), n_jobs=n_jobs)
    assert echo.calls == [("fit", [0, 1, 2, 3])]
    assert LockstepBackend().effective_n_jobs(n_jobs=n_jobs) == WAVE


def test_no_jobs_is_refused_as_by_joblib() -> None:
    with amalthea.lockstep(), pytest.raises(ValueError, match="n_jobs == 0"):
        each(abs, [1], n_jobs=0)


def test_more_tasks_than_joblib_queues_at_once(echo: Echo) -> None:
    assert each(fit, range(1200)) == list(range(1200))
    assert sum(len(requests) for _, requests in echo.calls) == 1200
    assert len(echo.calls) <= 4


def test_more_nested_tasks_than_joblib_queues_at_once(echo: Echo) -> None:
    def outer(i: int) -> Any:
        return each(fit, range(600))

    assert each(outer, range(2)) == [list(range(600))] * 2


@pytest.mark.parametrize("settings", [{"batch_size": 3}, {"pre_dispatch": "all"}, {"verbose": 60}])
def test_other_settings_of_parallel(echo: Echo, settings: Any, capsys: Any) -> None:
    assert each(fit_and_predict, range(7), **settings) == [(i, i) for i in range(7)]


@pytest.mark.parametrize(
    "hint", [{"prefer": "threads"}, {"prefer": "processes"}, {"require": "sharedmem"}]
)
def test_hints_change_nothing(echo: Echo, hint: Any) -> None:
    each(fit, range(3), n_jobs=2, **hint)
    assert echo.calls == [("fit", [0, 1, 2])]


def test_a_timeout_is_not_supported_and_joblib_says_so(echo: Echo) -> None:
    with pytest.warns(UserWarning, match="timeout"):
        assert each(fit, range(2), timeout=5) == [0, 1]


def test_a_parallel_can_be_called_again_and_used_as_a_block(echo: Echo) -> None:
    parallel = Parallel()
    assert parallel(delayed(fit)(i) for i in range(2)) == [0, 1]
    assert parallel(delayed(fit)(i) for i in range(2)) == [0, 1]
    with Parallel() as parallel:
        for _ in range(2):
            assert parallel(delayed(fit)(i) for i in range(3)) == [0, 1, 2]
        with pytest.raises(ZeroDivisionError):
            parallel(delayed(divide)(i) for i in (1, 0, 2))
        assert parallel(delayed(fit)(i) for i in range(3)) == [0, 1, 2]


def divide(i: int) -> Any:
    return 1 / fit(i)


def test_a_task_may_ask_in_a_thread_of_its_own(echo: Echo) -> None:
    def task(i: int) -> Any:
        answers: list[Any] = []
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: answers.append(fit(i)),))
        thread.start()
        thread.join()
        return answers

    assert each(task, range(2)) == [[0], [1]]


def test_below_scipy_a_fit_is_answered_at_once(echo: Echo) -> None:
    integrate = pytest.importorskip("scipy.integrate")

    def area(i: int) -> float:
        def height(x: float) -> float:
            return float(fit(i)) + abs(x - 0.3) ** (0.5 if i % 2 else 2)

        return float(integrate.quad(height, 0, 1)[0])

    def nested(i: int) -> float:
        def height(x: float) -> float:
            return float(sum(each(fit, [x * i, abs(x - 0.3) ** 0.5])))

        return float(integrate.quad(height, 0, 1)[0])

    assert each(area, range(5)) == [area(i) for i in range(5)]
    assert all(len(requests) == 1 for _, requests in echo.calls)
    assert each(nested, range(3)) == [nested(i) for i in range(3)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
def test_a_forked_child_is_answered_in_its_own_process(echo: Echo, tmp_path: Path) -> None:
    def task(i: int) -> int:
        child = os.fork()
        if child == 0:
            try:
                (tmp_path / f"{i}").write_text(str(fit(i)))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        return int((tmp_path / f"{i}").read_text())

    assert each(task, range(3)) == [0, 1, 2] and echo.calls == []


def test_a_fit_under_a_seed_is_answered_at_once(echo: Echo) -> None:
    def task(i: int) -> Any:
        with seeded(i):  # all others would wait for the generators
            return fit(i)

    assert each(task, range(3)) == [0, 1, 2]
    assert echo.calls == [("fit", [0]), ("fit", [1]), ("fit", [2])]


def test_two_threads_with_a_lockstep_each_do_not_know_each_other() -> None:
    results: dict[int, Any] = {}

    def work(number: int) -> None:
        trainer = Echo()
        with training_with(trainer), amalthea.lockstep():
            results[number] = each(fit_and_predict, [(number, i) for i in range(30)])
        assert [len(requests) for _, requests in trainer.calls] == [30, 30]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    filters = warnings.filters
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert warnings.filters is filters
    assert results == {n: [((n, i), (n, i)) for i in range(30)] for n in range(3)}


def test_a_lockstep_in_a_thread_that_a_task_waits_for(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from amalthea.rendezvous import scheduler

    monkeypatch.setattr(scheduler, "_PATIENCE", 0.1)

    def task(i: int) -> Any:
        found: list[Any] = []

        def inside() -> None:
            with training_with(Echo()), amalthea.lockstep():
                found.extend(each(fit, range(3)))

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        return found

    assert each(task, range(2)) == [[0, 1, 2]] * 2


# -- generators


def test_a_generator_gives_results_in_order_when_they_are_asked_for(echo: Echo) -> None:
    generator = each(fit, range(3), return_as="generator")
    assert echo.calls == []
    assert list(generator) == [0, 1, 2]
    assert echo.calls == [("fit", [0, 1, 2])]


def noting_its_end() -> tuple[list[int], Callable[[int], Any]]:
    """A task, and a list of those calls of it that have ended."""
    ended: list[int] = []

    def task(i: int) -> Any:
        try:
            return fit_and_predict(i)
        finally:
            ended.append(i)

    return ended, task


@pytest.mark.filterwarnings("ignore:.*tasks:UserWarning")
def test_an_abandoned_generator_ends_every_task(echo: Echo) -> None:
    ended, task = noting_its_end()
    generator = each(task, range(4), return_as="generator")
    assert next(generator) == (0, 0)
    assert len(living_tasks()) == 3
    generator.close()
    assert ended == [0, 1, 2, 3] and living_tasks() == []


@pytest.mark.filterwarnings("ignore:.*tasks:UserWarning")
def test_the_results_of_another_thread_are_refused() -> None:
    seen: list[BaseException] = []
    ended, task = noting_its_end()

    def elsewhere() -> None:
        try:
            list(generator)
        except BaseException as error:
            seen.append(error)

    with training_with(Echo()), amalthea.lockstep():
        generator = each(task, range(4), return_as="generator")
        assert next(generator) == (0, 0)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert "only on the thread that made it" in str(seen) and ended == [0]
        assert each(fit_and_predict, range(2)) == [(0, 0), (1, 1)]
        assert sorted(ended) == [0, 1, 2, 3]


def test_two_generators_at_once(echo: Echo) -> None:
    one = each(fit, range(3), return_as="generator")
    two = each(fit, "abc", return_as="generator")
    assert list(zip(one, two, strict=True)) == [(0, "a"), (1, "b"), (2, "c")]


def test_the_generator_of_a_task_ends_with_it(echo: Echo) -> None:
    def task(i: int) -> Any:
        return each(fit, range(3), return_as="generator")

    (generator,) = each(task, [0])
    with pytest.raises(RuntimeError, match="ended|inside a task"):
        next(generator)


def test_results_in_any_order_are_refused(echo: Echo) -> None:
    with pytest.raises(ValueError, match="generator_unordered"):
        each(fit, range(3), return_as="generator_unordered")


# -- failing


def test_the_first_error_in_order_is_raised_and_the_rest_is_ended(echo: Echo) -> None:
    closed: list[int] = []
    errors = {2: ValueError("two"), 1: KeyError("one")}

    def task(i: int) -> Any:
        with contextlib.ExitStack() as stack:
            stack.callback(closed.append, i)
            if i == 2:
                raise errors[2]  # at once; the first of them in order fails later
            try:
                fit(i)
            except Exception:
                raise AssertionError("seen by the task") from None
            if i == 1:
                raise errors[1]

    with pytest.raises(KeyError) as caught:
        each(task, range(5))
    assert caught.value is errors[1]
    assert "task" in [entry.name for entry in caught.traceback]
    assert sorted(closed) == [0, 1, 2]
    assert echo.calls == [("fit", [0, 1])]  # nothing is started after a failure


def test_waiting_tasks_are_unwound_and_cannot_be_stopped_from_it(echo: Echo) -> None:
    seen: list[Any] = []

    def task(i: int) -> Any:
        if i == 0:
            fit(i)
            raise ValueError("first")
        for _ in range(3):
            try:
                fit_and_predict(i)
            except Exception:
                seen.append("Exception")
            except BaseException as error:
                seen.append(type(error).__name__)

    with pytest.raises(ValueError, match="first"):
        each(task, range(2))
    assert seen == ["Unwind"] * 3


def test_a_task_that_asks_for_ever_is_answered_at_last(echo: Echo) -> None:
    def task(i: int) -> Any:
        if i == 0:
            fit(i)
            raise ValueError("first")
        while True:
            try:
                return fit(i)
            except BaseException:
                continue

    with pytest.raises(ValueError, match="first"):
        each(task, range(2))


def test_nested_tasks_are_unwound_with_their_parents(echo: Echo) -> None:
    ended: list[Any] = []

    def inner(path: tuple[int, int]) -> Any:
        try:
            fit(path)
            return predict(path)
        finally:
            ended.append(path)

    def outer(i: int) -> Any:
        if i == 0:
            fit(i)
            raise ValueError("outer")
        try:
            return each(inner, [(i, 0), (i, 1)])
        finally:
            ended.append(i)

    with pytest.raises(ValueError, match="outer"):
        each(outer, range(3))
    assert sorted(map(str, ended)) == ["(1, 0)", "(1, 1)", "(2, 0)", "(2, 1)", "1", "2"]


def test_an_error_in_a_nested_call_can_be_caught_by_its_parent(echo: Echo) -> None:
    def outer(i: int) -> Any:
        try:
            return each(divide, [1, i, 2])
        except ZeroDivisionError:
            return fit("caught")

    assert each(outer, [1, 0, 2]) == [[1, 1, 0.5], "caught", [1, 0.5, 0.5]]


def test_an_answer_may_be_an_error_of_one_alone() -> None:
    class Odd(Echo):
        def train(self, requests: Sequence[Any]) -> list[Any]:
            return [ValueError(r) if r % 2 else r for r in requests]

    def task(i: int) -> Any:
        try:
            return fit(i)
        except ValueError:
            return "failed"

    with training_with(Odd()), amalthea.lockstep():
        assert each(task, range(4)) == [0, "failed", 2, "failed"]


def test_an_error_of_the_trainer_is_every_tasks_error() -> None:
    class Broken(Echo):
        def train(self, requests: Sequence[Any]) -> list[Any]:
            raise MemoryError("too much")

    with training_with(Broken()), amalthea.lockstep():
        with pytest.raises(MemoryError, match="too much"):
            each(fit, range(3))
    assert living_tasks() == []


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_is_no_exception_reaches_the_caller_too(echo: Echo, error: Any) -> None:
    def task(i: int) -> Any:
        fit(i)
        if i == 1:
            raise error("stop")

    with pytest.raises(error):
        each(task, range(4))


def test_an_error_while_the_tasks_are_made(echo: Echo) -> None:
    def values() -> Iterator[int]:
        yield 0
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        each(fit, values())


def _interrupt_after(seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def test_an_interrupt_while_a_task_runs_reaches_it_and_the_caller(echo: Echo) -> None:
    seen: list[Any] = []

    def task(i: int) -> Any:
        try:
            fit(i)
            if i == 1:
                timer = _interrupt_after(0.2)
                until = time.time() + 20
                while time.time() < until:
                    time.sleep(0.01)
                timer.cancel()
        except BaseException as error:
            seen.append((i, type(error).__name__))
            raise

    with pytest.raises(KeyboardInterrupt):
        each(task, range(3))
    assert (1, "KeyboardInterrupt") in seen and (2, "Unwind") in seen
    assert living_tasks() == []
    assert each(fit, range(2)) == [0, 1]


def test_an_interrupt_from_inside_of_a_nested_task(echo: Echo) -> None:
    def inner(i: int) -> Any:
        fit(i)
        if i == 1:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)
        return predict(i)

    with pytest.raises(KeyboardInterrupt):
        each(lambda i: each(inner, range(3)), range(2))


def test_an_interrupt_in_the_engine() -> None:
    class Interrupted(Echo):
        def train(self, requests: Sequence[Any]) -> list[Any]:
            signal.raise_signal(signal.SIGINT)
            return super().train(requests)

    with training_with(Interrupted()), amalthea.lockstep(), pytest.raises(KeyboardInterrupt):
        each(fit, range(3))
    assert living_tasks() == []


INTERRUPTED = """
import sys
sys.path.insert(0, {tests!r})
from test_lockstep import *
from test_lockstep import _interrupt_after

with training_with(Echo()), amalthea.lockstep():
    for number in range(30):
        try:
            timer = _interrupt_after(0.005 + number * 0.0007)
            try:
                each(lambda i: each(fit_and_predict, range(4)), range(20))
            finally:
                timer.join()
        except KeyboardInterrupt:
            pass
        assert living_tasks() == []
    assert each(fit, range(3)) == [0, 1, 2]
print("as it should be")
"""


def test_interrupts_at_any_time_leave_no_task() -> None:
    """Wherever they strike: hand-over, callbacks, unwinding. In a process of its own."""
    program = INTERRUPTED.format(tests=str(Path(__file__).parent))
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert out.stdout == "as it should be\n", out.stderr


def test_a_task_that_an_interrupt_kept_from_being_made_has_not_been_started() -> None:
    half_made = Task.__new__(Task)
    assert not half_made.started


def test_nothing_of_a_finished_task_stays_alive(echo: Echo) -> None:
    class Big:
        pass

    alive: list[weakref.ref[Any]] = []

    def task(i: int) -> Any:
        local, request, result = Big(), Big(), Big()
        alive.extend(map(weakref.ref, (local, request, result)))
        if i == 3:
            fit(request)
            raise ValueError
        fit(request)
        predict(request)
        return result

    each(task, range(3))
    echo.calls.clear()
    gc.collect()
    assert len(alive) == 9 and all(reference() is None for reference in alive)
    with contextlib.suppress(ValueError):
        each(task, [3, 0, 1])
    echo.calls.clear()
    gc.collect()
    assert all(reference() is None for reference in alive)


# -- what surrounds a task

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="none")


def test_context_variables_are_the_callers(echo: Echo) -> None:
    def task(i: int) -> Any:
        before = NAME.get()
        NAME.set(str(i))
        fit(i)
        return before, NAME.get()

    token = NAME.set("outer")
    assert each(task, range(2)) == [("outer", "0"), ("outer", "1")]
    assert NAME.get() == "outer"
    NAME.reset(token)


def test_numpys_and_scikit_learns_settings_are_the_callers(echo: Echo) -> None:
    def task(i: int) -> Any:
        fit(i)
        return np.geterr()["divide"], sklearn.get_config()["assume_finite"]

    with np.errstate(divide="raise"), sklearn.config_context(assume_finite=True):
        assert each(task, range(2)) == [("raise", True)] * 2
        assert each(lambda i: each(task, range(1)), range(1)) == [[("raise", True)]]
    assert each(task, range(1)) == [("warn", False)]


def test_what_joblib_was_told_holds_inside(echo: Echo) -> None:
    def task(i: int) -> Any:
        inner = Parallel()
        return inner.verbose, inner.n_jobs, isinstance(inner._backend, LockstepBackend)

    with joblib.parallel_config(verbose=1, n_jobs=3):
        assert Parallel(verbose=0)([delayed(task)(0)]) == [(1, 3, True)]


def test_keras_scopes_are_the_callers(echo: Echo) -> None:
    def task(i: int) -> Any:
        fit(i)
        return keras.config.dtype_policy().name, "own" in keras.saving.get_custom_objects()

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with keras.saving.custom_object_scope({"own": object()}):
            # get_custom_objects are the global ones; the scope's are looked up by name
            names = each(lambda i: (task(i)[0], _finds("own")), range(2))
    finally:
        keras.config.set_dtype_policy(before)
    assert names == [("mixed_bfloat16", True)] * 2
    assert not _finds("own")


def _finds(name: str) -> bool:
    return keras.saving.get_registered_object(name) is not None


def test_what_a_task_sets_in_keras_stays_its_own(echo: Echo) -> None:
    def task(name: str) -> Any:
        keras.config.set_dtype_policy(name)
        fit(name)
        return keras.config.dtype_policy().name

    before = keras.config.dtype_policy().name
    names = ["float16", "float64", "mixed_bfloat16"]
    assert each(task, names) == names
    assert keras.config.dtype_policy().name == before


def test_clear_session_in_a_task_hurts_no_other(echo: Echo) -> None:
    def task(i: int) -> Any:
        fit(i)
        if i == 1:
            keras.utils.clear_session(free_memory=False)
            cleared = keras.config.dtype_policy().name
            predict(i)
            return cleared, keras.config.dtype_policy().name
        predict(i)
        return keras.config.dtype_policy().name, _finds("own")

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.utils.set_random_seed(3)
    state = privates.keras_state()
    try:
        with keras.saving.custom_object_scope({"own": object()}):
            results = each(task, range(3))
            assert _finds("own")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert privates.keras_state()[0] == state[0] == 3
    finally:
        keras.config.set_dtype_policy(before)
    assert results[0] == results[2] == ("mixed_bfloat16", True)
    assert results[1] == ("float32", "float32")


def test_an_event_loop_is_that_of_its_task(echo: Echo) -> None:
    async def asks(i: int) -> Any:
        await asyncio.sleep(0)
        return fit(i), asyncio.get_running_loop().is_running()

    async def search() -> Any:
        return each(fit, range(2))

    assert each(lambda i: asyncio.run(asks(i)), range(3)) == [(i, True) for i in range(3)]
    assert echo.calls == [("fit", [0, 1, 2])]
    assert asyncio.run(search()) == [0, 1]


def test_a_task_may_wait_on_a_stack_of_its_own(echo: Echo) -> None:
    def task(i: int) -> Any:
        def inner(request: Any) -> Any:
            own = greenlet(fit)
            own.gr_context = contextvars.copy_context()
            return own.switch(request)

        return [inner((i, j)) for j in range(2)], predict(i)

    assert each(task, range(3)) == [([(i, 0), (i, 1)], i) for i in range(3)]
    assert [len(requests) for _, requests in echo.calls] == [3, 3, 3]


def test_jax_settings_are_the_callers(echo: Echo) -> None:
    def task(i: int) -> Any:
        fit(i)
        return jax.config.jax_default_matmul_precision, jax.config.jax_debug_nans

    before = jax.config.jax_default_matmul_precision, jax.config.jax_debug_nans
    with jax.default_matmul_precision("float32"), jax.debug_nans(not before[1]):
        assert each(task, range(2)) == [("float32", not before[1])] * 2
    assert each(task, range(1)) == [before]


def test_fits_are_trained_under_the_jax_settings_of_their_task() -> None:
    seen: list[Any] = []

    class Looks(Echo):
        def train(self, requests: Sequence[Any]) -> list[Any]:
            seen.append((list(requests), jax.config.jax_default_matmul_precision))
            return list(requests)

    def task(i: int) -> Any:
        with jax.default_matmul_precision("float32" if i % 2 else "bfloat16"):
            return fit(i)

    before = jax.config.jax_default_matmul_precision
    with training_with(Looks()), amalthea.lockstep():
        each(task, range(4))
    assert seen == [([0, 2], "bfloat16"), ([1, 3], "float32")]
    assert jax.config.jax_default_matmul_precision == before


def test_global_generators_are_drawn_from_in_order(echo: Echo) -> None:
    def task(i: int) -> Any:
        draw = np.random.random(), float(keras.random.uniform(()))
        fit(i)
        return draw

    def draws() -> Any:
        privates.set_keras_state(privates.AS_AT_START)  # Keras 3.12 keeps its old generator
        keras.utils.set_random_seed(4)
        return each(task, range(3))

    with joblib.parallel_config(backend="sequential"):
        expected = draws()
    assert draws() == expected
    assert len({keras_draw for _, keras_draw in expected}) == 3


def test_the_warnings_of_tasks_reach_the_caller_and_follow_its_filters(echo: Echo) -> None:
    def task(i: int) -> Any:
        warnings.warn(f"before {i}", UserWarning, stacklevel=1)
        fit(i)
        warnings.warn(f"after {i}", UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        each(task, range(2))
    assert [str(w.message) for w in caught] == ["before 0", "before 1", "after 0", "after 1"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each(task, range(2))
    with pytest.raises(UserWarning, match="before 0"):
        each(task, range(2))  # as all tests: warnings are errors


def test_the_filters_of_a_task_are_its_own_while_it_waits(echo: Echo) -> None:
    def task(i: int) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always" if i else "ignore")
            fit(i)
            warnings.warn("own", UserWarning, stacklevel=1)
            each(lambda j: warnings.warn("nested", UserWarning, stacklevel=1), range(1))
        with pytest.raises(UserWarning, match="outside"):
            warnings.warn("outside", UserWarning, stacklevel=1)
        return [str(w.message) for w in caught]

    filters, show = warnings.filters, warnings.showwarning
    assert each(task, range(3)) == [[], ["own", "nested"], ["own", "nested"]]
    assert warnings.filters is filters and warnings.showwarning is show


def test_the_output_of_a_task_is_its_own_while_it_waits(echo: Echo, capsys: Any) -> None:
    def task(i: int) -> Any:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            print("one", i)
            fit(i)
            print("two", i)
        print("free", i)
        return out.getvalue()

    assert each(task, range(2)) == ["one 0\ntwo 0\n", "one 1\ntwo 1\n"]
    assert capsys.readouterr().out == "free 0\nfree 1\n"


# -- room


def test_the_wave_closes_when_the_bound_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "budget", lambda max_memory: 40_000_000.0)

    def task(i: int) -> Any:
        held = np.zeros(10_000_000, np.uint8)
        fit(i)
        return len(held)

    trainer = Echo()
    with training_with(trainer), amalthea.lockstep(max_memory=10**12), training_with(trainer):
        assert each(task, range(6)) == [10_000_000] * 6
    assert [len(requests) for _, requests in trainer.calls] == [3, 3]


def test_one_task_is_always_started() -> None:
    trainer = Echo()
    with amalthea.lockstep(max_memory=1), training_with(trainer):
        assert each(fit, range(3)) == [0, 1, 2]
        assert each(lambda i: each(fit, range(2)), range(2)) == [[0, 1]] * 2


def test_each_buffer_is_counted_once() -> None:
    array = np.zeros((100, 10))
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(np.eye(10))
    frame = pytest.importorskip("pandas").DataFrame({"a": np.zeros(50)})
    values = [array, array[5:], array.T, {"x": (array,)}, sparse, frame]
    sizes = dict(admission.arrays(values))
    assert sum(sizes.values()) == array.nbytes + 10 * 8 + 10 * 4 + 11 * 4 + 50 * 8


def test_little_data_is_not_looked_at_closely() -> None:
    held = admission.Admission(10**12)
    given = np.zeros(1000)
    held.weigh("task", [sys._getframe()], [], [given])
    assert held._sum == admission.PER_TASK + admission.COPIES_OF_LITTLE * given.nbytes


def test_what_a_task_was_given_is_not_counted(monkeypatch: Any) -> None:
    monkeypatch.setattr(admission, "LITTLE", 0)
    held = admission.Admission(10**12)
    given, own = np.zeros(1000), np.zeros(500)
    held.weigh("task", [sys._getframe()], [], [given])
    assert held._sum == admission.PER_TASK + own.nbytes
    held.weigh("other", [sys._getframe()], [], [given])
    assert held._sum == 2 * admission.PER_TASK + own.nbytes
    held.forget("task")
    held.forget("other")
    assert held._sum == 0


@pytest.mark.parametrize("limit", ["max\n", "5000\n"])
def test_the_limit_of_a_container_is_kept(tmp_path: Path, limit: str) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "memory.max").write_text(limit)
    (tmp_path / "a" / "memory.current").write_text("3000\n")
    (tmp_path / "a" / "memory.stat").write_text("anon 1\ninactive_file 500\n")
    expected = float("inf") if limit == "max\n" else 2500.0
    assert room.free_in_cgroup(tmp_path, "/a/b") == expected


# -- times


def test_the_time_spent_waiting_is_replaced_by_the_fair_share() -> None:
    result = {"fit_time": 10.0, "score_time": 5.0, "other": 1}
    waits = [(101.0, 109.0, 0.5), (111.0, 114.0, 0.25), (116.0, 117.0, 9.0)]
    correct([result], 100.0, waits)
    assert result == {"fit_time": 2.5, "score_time": 2.25, "other": 1}


def test_no_time_is_below_zero_and_other_results_are_left_alone() -> None:
    results = [{"fit_time": 1.0, "score_time": 0.0}, {"fit_time": "soon"}, 3]
    correct(results, 0.0, [(0.0, 1.5, 0.0)])
    assert results == [{"fit_time": 0.0, "score_time": 0.0}, {"fit_time": "soon"}, 3]


def test_a_task_is_not_charged_for_the_others() -> None:
    class Slow(Echo):
        def train(self, requests: Sequence[Any]) -> list[Any]:
            time.sleep(0.4)
            return super().train(requests)

    def task(i: int) -> Any:
        start = time.time()
        fit(i)
        fitted = time.time() - start
        return {"fit_time": fitted, "score_time": time.time() - start - fitted}

    def outer(i: int) -> Any:
        start = time.time()
        each(task, range(2))
        return {"fit_time": time.time() - start, "score_time": 0.0}

    with training_with(Slow()), amalthea.lockstep():
        alone = each(task, range(4))
        nested = each(outer, range(2))
    assert all(0.05 < result["fit_time"] < 0.2 for result in alone)
    assert all(0.1 < result["fit_time"] < 0.35 for result in nested)  # the cost of its two fits


# -- the context manager


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"form": "fast"}, "form must be None or one of 'stacked'.*got 'fast'"),
        ({"max_memory": 0}, "max_memory must be an integer of at least 1; got 0"),
        ({"max_memory": "1GB"}, "max_memory .* got '1GB'"),
    ],
)
def test_options_that_cannot_work_are_refused(options: Any, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        amalthea.lockstep(**options)
    with pytest.raises(InvalidParameter, match=words):
        joblib.parallel_config(backend="lockstep", **options)


def test_inside_of_another_it_joins_that() -> None:
    with amalthea.lockstep(max_memory=10**12):
        outer = joblib.parallel.get_active_backend()[0]
        trainer = current_trainer()
        with amalthea.lockstep():
            assert joblib.parallel.get_active_backend()[0] is outer
        with joblib.parallel_config(backend="threading"), amalthea.lockstep():
            assert joblib.parallel.get_active_backend()[0] is outer
            assert current_trainer() is trainer
        with amalthea.lockstep(form="keras"):
            assert joblib.parallel.get_active_backend()[0] is not outer
            assert current_trainer() is not trainer
        assert current_trainer() is trainer
    assert not isinstance(joblib.parallel.get_active_backend()[0], LockstepBackend)
    assert current_trainer() is not trainer


def test_a_lockstep_with_options_in_a_task_answers_its_own_fits(echo: Echo) -> None:
    other = Echo()

    def task(i: int) -> Any:
        if i == 1:
            with training_with(other), amalthea.lockstep():
                return each(fit, ["a", "b"])
        return fit(i)

    assert each(task, range(3)) == [0, ["a", "b"], 2]
    assert echo.calls == [("fit", [0, 2])] and other.calls == [("fit", ["a", "b"])]


def test_joblib_knows_the_name_once_an_estimator_was_imported() -> None:
    code = (
        "from amalthea import KerasClassifier; import joblib\n"
        "with joblib.parallel_config(backend='lockstep'):\n"
        "    print(joblib.Parallel()(joblib.delayed(abs)(-i) for i in range(3)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[0, 1, 2]"
