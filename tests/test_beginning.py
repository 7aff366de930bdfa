"""Where many fits wait, training begins while further tasks are started; nobody else notices."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import amalthea
from amalthea import KerasClassifier
from amalthea.engine import predictions, training
from amalthea.engine.forms import Engine, forget_programs
from amalthea.engine.trainer import training_with
from amalthea.rendezvous import scheduler
from test_lockstep import Echo, each, fit, fit_and_predict, living_tasks


@dataclass
class Training:
    requests: list[Any]
    events: list[Any]
    error: Exception | None = None
    stopped: bool = False
    done: bool = True

    def wait(self) -> None:
        self.events.append(("wait", self.requests[0]))

    def answers(self) -> list[Any]:
        if self.error:
            raise self.error
        self.events.append(("end", self.requests[0]))
        return list(self.requests)

    def stop(self) -> None:
        self.stopped = True


@dataclass
class Begins(Echo):
    """An :class:`Echo` that begins whenever it is asked, if it ``can``."""

    can: bool = True
    error: Exception | None = None
    calls: list[Any] = field(default_factory=list)
    begun: list[Training] = field(default_factory=list)

    def begin(self, requests: Sequence[Any], last: bool = False) -> Training | None:
        self.calls.append(("the last" if last else "begin", list(requests)))
        if not self.can:
            return None
        error = None if last else self.error
        self.begun.append(Training(list(requests), self.calls, error))
        return self.begun[-1]


@pytest.fixture(autouse=True)
def four_are_many(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scheduler, "MANY", 4)
    yield
    assert living_tasks() == []


def interrupt() -> None:
    """As Ctrl-C does."""
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        time.sleep(0.01)


def run(trainer: Echo, function: Any, values: Any) -> list[Any]:
    with training_with(trainer), amalthea.lockstep():
        return list(each(function, values))


def test_each_four_are_begun_with_and_the_rest_trains_while_others_go_on() -> None:
    trainer = Begins()
    assert run(trainer, fit_and_predict, range(10)) == [(n, n) for n in range(10)]
    assert trainer.calls == [
        ("begin", [0, 1, 2, 3]),
        ("wait", 0),  # one after the other
        ("begin", [4, 5, 6, 7]),
        ("wait", 4),
        ("the last", [8, 9]),
        ("end", 0),
        ("end", 4),
        ("end", 8),
        ("predict", list(range(10))),
    ]


def test_where_the_last_cannot_be_begun_nobody_goes_on_before_they_are_trained() -> None:
    class Seldom(Begins):
        def begin(self, requests: Sequence[Any], last: bool = False) -> Training | None:
            return None if last else super().begin(requests)

    trainer = Seldom()
    assert run(trainer, fit_and_predict, range(10)) == [(n, n) for n in range(10)]
    assert trainer.calls[3:] == [
        ("wait", 4),
        ("end", 0),
        ("wait", 4),
        ("end", 4),
        ("fit", [8, 9]),
        ("predict", list(range(10))),
    ]


def test_while_it_is_at_the_first_four_more_of_the_others_wait() -> None:
    trainer = Begins()

    def ends_with_the_seventh(value: int) -> Any:
        if value == 6:
            trainer.begun[0].done = True
        return fit(value)

    begin = trainer.begin

    def takes_long(requests: Sequence[Any], last: bool = False) -> Training | None:
        training = begin(requests, last)
        if training is not None:
            training.done = False
        return training

    trainer.begin = takes_long  # type: ignore[method-assign]
    assert run(trainer, ends_with_the_seventh, range(12)) == list(range(12))
    assert [one.requests for one in trainer.begun] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert run(trainer, fit, range(12)) == list(range(12))
    assert [one.requests for one in trainer.begun[3:]] == [[0, 1, 2, 3], list(range(4, 12))]


def test_nothing_is_begun_when_no_further_task_is_there() -> None:
    trainer = Begins()
    run(trainer, fit, range(4))
    assert trainer.calls == [("fit", [0, 1, 2, 3])]


def test_a_trainer_that_cannot_yet_is_asked_again_after_four_more() -> None:
    trainer = Begins(can=False)
    run(trainer, fit, range(10))
    assert trainer.calls == [
        ("begin", list(range(4))),
        ("begin", list(range(8))),
        ("fit", list(range(10))),
    ]


def test_the_error_of_a_training_is_the_error_of_its_fits_alone() -> None:
    def tried(value: int) -> Any:
        try:
            return fit(value)
        except ValueError as error:
            return str(error)

    trainer = Begins(error=ValueError("no"))
    assert run(trainer, tried, range(6)) == ["no"] * 4 + [4, 5]


def test_an_error_in_beginning_leaves_the_fits_to_be_trained_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(requests: Sequence[Any], last: bool = False) -> None:
        raise ValueError("not now")

    trainer = Begins()
    monkeypatch.setattr(trainer, "begin", fails)
    assert run(trainer, fit, range(6)) == list(range(6))
    assert trainer.calls == [("fit", list(range(6)))]


def test_a_training_that_nobody_waits_for_is_stopped() -> None:
    def fails_late(value: int) -> Any:
        if value == 6:
            raise ValueError("the seventh")
        return fit(value)

    trainer = Begins()
    with pytest.raises(ValueError, match="the seventh"):
        run(trainer, fails_late, range(20))
    assert [one.requests for one in trainer.begun] == [[0, 1, 2, 3], [4, 5]]
    assert run(trainer, fit, range(3)) == [0, 1, 2]


def test_an_interrupt_stops_what_was_begun() -> None:
    def interrupted(value: int) -> Any:
        if value == 6:
            interrupt()
        return fit(value)

    trainer = Begins()
    with pytest.raises(KeyboardInterrupt):
        run(trainer, interrupted, range(20))
    assert [one.stopped for one in trainer.begun] == [True]


def test_answers_go_to_those_who_still_wait() -> None:
    """Nested calls: one fails after its fits were begun with, and its parent goes on."""

    def inner(value: int) -> Any:
        if value == 6:
            raise ValueError(value)
        return fit(value)

    def outer(value: int) -> Any:
        if value == 0:
            return fit(100)
        try:
            return each(inner, range(12))
        except ValueError:
            return fit(200)

    trainer = Begins()
    assert run(trainer, outer, range(2)) == [100, 200]


def build(units: int = 4, rate: float = 0.01) -> keras.Model:
    L = keras.layers
    model = keras.Sequential([L.Input((4,)), L.Dense(units, "relu"), L.Dense(3, "softmax")])
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    return model


def search(builder: Any = build, epochs: int = 3, **space: Any) -> Any:
    estimator = make_pipeline(
        StandardScaler(), KerasClassifier(builder, epochs=epochs, random_state=0)
    )
    space = {f"kerasclassifier__{name}": values for name, values in space.items()}
    return amalthea.GridSearchCV(estimator, space, cv=3, refit=False, error_score="raise")


RATES = [0.001, 0.003, 0.01, 0.03, 0.1]


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many fits each training was begun with."""
    sizes: list[int] = []
    begin = Engine.begin

    def noting(self: Engine, requests: Any, last: bool = False) -> Any:
        training = begin(self, requests, last)
        if training is not None:
            sizes.append(len(requests))
        return training

    monkeypatch.setattr(Engine, "begin", noting)
    return sizes


def test_a_search_gives_the_same_in_parts_and_as_one(
    iris: Any, begun: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "MANY", 12)
    monkeypatch.setattr(predictions, "lanes_to_predict", lambda _: 12)  # as many as in a part
    monkeypatch.setattr(training.Training, "done", True)  # the scheduler waits, and takes no more
    forget_programs()
    parts = search(rate=RATES, units=[3, 4]).fit(*iris)
    assert begun == [12, 12, 6]
    monkeypatch.setattr(scheduler, "MANY", 1000)
    forget_programs()
    one = search(rate=RATES, units=[3, 4]).fit(*iris)
    assert parts.programs_ == one.programs_
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(parts.cv_results_[name], one.cv_results_[name], atol=1e-7)
    assert sum(parts.plan_["fits"]) == sum(one.plan_["fits"]) == 30


def test_it_waits_for_models_that_it_has_not_seen(iris: Any, begun: list[int]) -> None:
    search(rate=[0.01], units=[2, 3, 4, 5, 6]).fit(*iris)
    assert begun == []


def test_it_does_not_begin_where_fits_have_models_of_their_own(iris: Any, begun: list[int]) -> None:
    estimator = KerasClassifier(build, epochs=2)  # without a seed each fit is another
    amalthea.GridSearchCV(estimator, {"rate": RATES}, cv=3, refit=False).fit(*iris)
    assert begun == []


def test_an_interrupt_while_fits_train_ends_every_thread(iris: Any, begun: list[int]) -> None:
    calls: list[int] = []

    def interrupts(units: int = 4, rate: float = 0.01) -> keras.Model:
        calls.append(units)
        if len(calls) == 3:
            interrupt()
        return build(units, rate)

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        search(interrupts, epochs=200_000, rate=RATES).fit(*iris)
    assert begun
    assert set(threading.enumerate()) <= before
    search(rate=RATES).fit(*iris)


def test_tasks_run_while_fits_are_trained(
    iris: Any, begun: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[bool] = []
    training_now = threading.Event()
    train = training._outcomes

    def slowly(cohort: Any) -> Any:
        training_now.set()
        time.sleep(0.3)
        outcomes = train(cohort)
        training_now.clear()
        return outcomes

    def builds(units: int = 4, rate: float = 0.01) -> keras.Model:
        at_once.append(training_now.is_set())
        return build(units, rate)

    monkeypatch.setattr(training, "_outcomes", slowly)
    search(builds, rate=RATES).fit(*iris)
    assert begun and at_once[-1]
