"""Fits that gain nothing from others beside them take turns in one program, and get what Keras's
own `fit` gives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import keras
import numpy as np
import pytest

from amalthea.engine.data import Pool
from amalthea.engine.epochs import STEPS_AHEAD, Abandoned, Tools, host_epoch
from amalthea.engine.forms import Engine, _known, forget_programs
from amalthea.engine.members import Member
from amalthea.engine.part import Part
from amalthea.engine.parts import Cutting
from amalthea.engine.reached import Reached
from amalthea.engine.rows import Rows
from amalthea.engine.steps import as_copies
from amalthea.engine.terms import Terms
from amalthea.engine.training import Training
from engine_and_keras import KerasAlone
from test_lifts import GRIDS, HELD, TABLE, assert_same, build, keras_fit, request

FEWER = Rows(TABLE.x[:37], TABLE.y[:37])
pytestmark = pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="where there is an accelerator, fits are stacked"
)


@pytest.fixture
def nothing_is_stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_programs()
    monkeypatch.setattr("amalthea.engine.parts.may_stack", lambda structure, member: False)


@pytest.mark.usefixtures("nothing_is_stacked")
@pytest.mark.parametrize("name", ["units", "activation", "dropout", "optimizer", "norm"])
@pytest.mark.slow
@pytest.mark.parametrize("held", [None, HELD], ids=["", "validated"])
def test_models_take_turns_in_one_program(name: str, held: Rows | None) -> None:
    makes = [partial(build, **settings) for settings in GRIDS[name]]
    fits = [(make, rows) for make in makes for rows in (TABLE, FEWER)]
    engine = Engine()
    before = engine.compilations
    models = [make() for make, _ in fits]
    requests = [request(m, rows, held=held) for m, (_, rows) in zip(models, fits, strict=True)]
    results, alone = engine.train(requests), KerasAlone()
    # Where nothing is validated, it has room for more rows than it was made for.
    assert engine.compilations - before == (1 if held is None else 2)
    for model, result, (make, rows) in zip(models, results, fits, strict=True):
        assert result.form == "loop"
        theirs = alone.model(make)
        assert_same(model, result, theirs, keras_fit(theirs, rows, held=held))


@pytest.mark.usefixtures("nothing_is_stacked")
def test_a_later_fit_takes_a_program_that_has_room_for_it() -> None:
    engine = Engine()
    engine.train([request(build(units=units), FEWER) for units in (3, 5, 9)])
    before = engine.compilations
    ours, theirs = build(units=4), build(units=4)
    engine.train([request(ours, TABLE), request(build(units=9), TABLE)])
    assert engine.compilations == before
    (result,) = engine.train([request(ours, TABLE)])
    keras_fit(theirs, TABLE)
    assert_same(ours, result, theirs, keras_fit(theirs, TABLE))


def parts(widths: Sequence[int], epochs: int, **settings: Any) -> list[Part]:
    requests = [request(build(units=n, **settings), TABLE, epochs) for n in widths]
    members = [Member(one, *_known.structures.of_fit(one, None)) for one in requests]
    for member in members:
        object.__setattr__(member.structure, "steady", True)
    terms = Terms(_known.families, _known.shapes, None, 1e12, False)
    return Cutting(terms).parts(members)


def test_what_a_size_costs_in_vain_is_weighed_against_a_program_more() -> None:
    few, many = parts((256, 1024), 2, layers=2), parts((256, 1024), 200_000, layers=2)
    assert len({part.family.structure.key for part in few}) == 1
    assert len({part.family.structure.key for part in many}) == 2


def test_neighbours_by_size_share_a_program() -> None:
    found = parts((256, 512, 280, 560), 400, layers=2)
    together = {
        part.family.structure.key: {member.request.model.count_params() for member in part.members}
        for part in found
    }
    assert len(together) < len(found)


@pytest.mark.parametrize("form", [None, "stacked"])
def test_models_without_a_weight_to_train_are_scored_all_the_same(form: str | None) -> None:
    def frozen(units: int) -> keras.Model:
        model = build(units=units)
        model.trainable = False
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    models = [frozen(units) for units in (3, 5)]
    results = Engine(form=form).train([request(model, TABLE) for model in models])
    for model, result, units in zip(models, results, (3, 5), strict=True):
        theirs = frozen(units)
        assert_same(model, result, theirs, keras_fit(theirs, TABLE))


CALLBACKS: dict[str, Any] = {
    "early stopping": lambda: keras.callbacks.EarlyStopping("loss", patience=0, min_delta=10.0),
    "schedule": lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
    "not a number": keras.callbacks.TerminateOnNaN,
}


@pytest.mark.usefixtures("nothing_is_stacked")
@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_look_at_fits_that_take_turns(name: str) -> None:
    rows = TABLE
    if name == "not a number":  # from the second batch of some epoch on
        rows = Rows(np.where(np.arange(len(TABLE)) == 20, np.nan, TABLE.x.T).T, TABLE.y)
    models = [build(units=units) for units in (3, 8)]
    asked = [
        replace(request(model, rows, held=HELD), callbacks=[CALLBACKS[name]()]) for model in models
    ]
    results = Engine().train(asked)
    for model, result, units in zip(models, results, (3, 8), strict=True):
        assert result.form == "loop"
        theirs = build(units=units)
        again = [CALLBACKS[name]()]
        assert_same(model, result, theirs, keras_fit(theirs, rows, held=HELD, callbacks=again))


@pytest.mark.parametrize("form", ["loop", "steps"])
def test_long_fits_train_side_by_side_only_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    beside: list[bool] = []
    answers = Training.answers

    def noting(self: Training) -> Any:
        beside.append(bool(self._running))
        return answers(self)

    monkeypatch.setattr(Training, "answers", noting)
    for room in (1e12, 1e3):
        monkeypatch.setattr("amalthea.engine.forms.room_for_engine", lambda most, room=room: room)
        results = Engine(form=form).train([request(build(units=n), TABLE) for n in (3, 8)])
        assert {result.form for result in results} <= {"loop", "steps"}
    assert beside == [jax.default_backend() == "cpu", False]


def test_fits_that_call_code_of_a_user_do_not_train_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(
        "amalthea.engine.training._outcomes_under", lambda settings, one: started.append(one)
    )
    asked = [
        replace(request(build(units=n), TABLE), callbacks=[CALLBACKS["schedule"]()]) for n in (3, 8)
    ]
    assert all(result.epochs for result in Engine(form="steps").train(asked))

    class OnHost(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            twice = jax.pure_callback(lambda x: 2 * x, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
            return x + 0 * jax.lax.stop_gradient(twice)

    models = [keras.Sequential([keras.Input((6,)), OnHost(), build(units=3)]) for _ in range(2)]
    for model in models:
        model.compile("sgd", "sparse_categorical_crossentropy")
    results = Engine(form="steps").train([request(model, TABLE) for model in models])
    assert [result.form for result in results] == ["steps", "steps"]
    assert started == []


def test_steps_do_not_run_far_ahead_of_the_device() -> None:
    """Each holds its batch until it is done."""
    waited_for: list[int] = []

    class Loss:
        def __init__(self, number: int) -> None:
            self.number = number

        def block_until_ready(self) -> None:
            waited_for.append(self.number)

    class Instead(Tools):
        def prepare(self, *arguments: Any, **named: Any) -> Any:
            program: Future[Any] = Future()
            program.set_result(lambda state, batch: (state, {"loss": Loss(next(numbers))}))
            return program

    numbers = itertools.count()
    asked = request(build(units=3), TABLE)
    structure, state = _known.structures.of_fit(asked, None)
    tools = Instead(_known.programs, _known.shapes, Pool(), Reached())
    epoch = host_epoch(structure.train, [TABLE], [4], state, tools)
    _, _, losses = epoch(state, [np.arange(len(TABLE))])
    assert len(losses) > STEPS_AHEAD
    assert waited_for == list(range(len(losses) - STEPS_AHEAD))


def test_an_epoch_of_steps_ends_when_nobody_waits_for_it() -> None:
    asked = request(build(units=3), TABLE)
    structure, state = _known.structures.of_fit(asked, None)
    told = iter([False, True])
    tools = Tools(_known.programs, _known.shapes, Pool(), Reached(), is_stopped=told.__next__)
    state = as_copies(state._replace(metrics=structure.no_metrics))
    epoch = host_epoch(structure.train, [TABLE], [asked.batch_size], state, tools)
    with pytest.raises(Abandoned):
        epoch(state, [np.arange(len(TABLE))])
    assert list(told) == []
