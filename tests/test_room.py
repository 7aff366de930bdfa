"""Memory: arrays once by content, cohorts no larger than the room, nothing left behind."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import jax
import keras
import numpy as np
import pytest

from amalthea.engine import choice, room
from amalthea.engine.data import Pool
from amalthea.engine.forms import Engine, forget_programs
from amalthea.engine.programs import Programs
from amalthea.engine.requests import PredictRequest
from amalthea.engine.rows import Rows
from engine_and_keras import request_for
from kinds_of_models import MODELS, OPTIMIZERS, data_for, seeded_model, table

DENSE = MODELS["dense"][0]


def requests(n: int, **more: Any) -> list[Any]:
    rows = data_for(table)
    models = [seeded_model(DENSE, OPTIMIZERS["Adam"]) for _ in range(n)]
    return [request_for(model, copied(rows), seed, **more) for seed, model in enumerate(models)]


def copied(rows: Rows) -> Rows:
    return Rows(rows.x.copy(), rows.y.copy())


def test_arrays_of_equal_content_are_one() -> None:
    pool, rows = Pool(), data_for(table)
    folds = [copied(Rows(rows.x[n : n + 40], rows.y[n : n + 40])) for n in (0, 5, 10)]
    shared = [pool.shared(copied(folds[n % 3])) for n in range(30)]
    assert len({id(part.x) for part in shared}) == 3
    stacked, which = pool.stacked(shared)
    assert stacked[0].shape == (3, 40, 6)
    assert which.tolist() == [0, 1, 2] * 10
    assert pool.stacked(shared)[0][0] is stacked[0]


def test_equal_means_equal_to_the_bit() -> None:
    pool = Pool()
    arrays = [np.zeros((100, 2)) for _ in range(4)]
    arrays[1][57, 1] = -0.0
    arrays[2][31, 0] = 1e-300
    shared = [pool.shared(Rows(array, np.zeros(100))) for array in arrays]
    assert len({id(part.x) for part in shared}) == 3
    assert shared[0].x is shared[3].x
    nan = [pool.shared(Rows(np.full((5, 1), np.nan), np.zeros(5))) for _ in range(2)]
    assert nan[0].x is nan[1].x


def test_arrays_that_are_not_contiguous_are_compared_too() -> None:
    pool, whole = Pool(), np.arange(24.0).reshape(4, 6)
    views = [whole[:, ::2], np.asfortranarray(whole[:, ::2]), whole[:, ::2].copy()]
    assert len({id(pool.shared(Rows(view, np.zeros(4))).x) for view in views}) == 1


@pytest.mark.parametrize(("lanes_that_fit", "sizes"), [(1.5, []), (4.5, [4, 4, 4]), (1e6, [12])])
def test_cohorts_are_cut_to_the_room(
    monkeypatch: Any, lanes_that_fit: float, sizes: list[int]
) -> None:
    monkeypatch.setattr("amalthea.engine.forms.room_for_engine", lambda most: room_in_bytes)
    cut: list[int] = []
    whole = choice.in_stacks

    def noting(*arguments: Any) -> Any:
        chosen = whole(*arguments)
        cut.extend(len(part) for _, part in chosen)
        return chosen

    monkeypatch.setattr("amalthea.engine.stacks.in_stacks", noting)
    room_in_bytes = lanes_that_fit * bytes_of_one()
    results = Engine(form="stacked").train(requests(12))
    assert {result.form for result in results} == ({"stacked"} if sizes else {"loop"})
    assert sorted(cut) == sizes


def bytes_of_one() -> float:
    from amalthea.engine.forms import _known
    from amalthea.engine.members import Member
    from amalthea.engine.part import bytes_of

    (request,) = requests(1)
    member = Member(request, *_known.structures.of_fit(request, None))
    family = _known.families.of([member.structure], one_step=True)
    assert family is not None
    return bytes_of(family, member)


def test_the_estimate_of_a_lane_is_near_what_xla_reports() -> None:
    """Above what a program really takes, and not by orders of magnitude."""
    forget_programs()
    reported: list[Any] = []
    prepare = Programs.prepare

    def noting(self: Any, *arguments: Any, **named: Any) -> Any:
        program = prepare(self, *arguments, **named)
        key, _, state, *data = arguments
        reported.append((key, program.result().memory_analysis(), data))
        return program

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Programs, "prepare", noting)
        estimated = 16 * bytes_of_one()
        Engine(form="stacked").train(requests(16))
    ((_, used, data),) = [one for one in reported if one[0][:2] == ("run", True)]
    really = used.argument_size_in_bytes + used.output_size_in_bytes + used.temp_size_in_bytes
    really -= sum(array.nbytes for array in jax.tree.leaves(data))  # rows and orders
    assert really < estimated < 20 * really


def test_rows_that_do_not_fit_stay_on_the_host(monkeypatch: Any) -> None:
    rows = data_for(table)
    wide = Rows(rows.x.astype("float64"), rows.y)
    assert room.bytes_on_device(wide) >= rows.x.nbytes
    assert jax.default_backend() != "cpu" or room.bytes_on_device(rows) == 0
    monkeypatch.setattr("amalthea.engine.forms.room_for_engine", lambda most: 100.0)
    ours, theirs = (seeded_model(DENSE, OPTIMIZERS["Adam"]) for _ in range(2))
    (result,) = Engine().train([request_for(ours, wide)])
    assert result.form == "steps"
    Engine(form="loop").train([request_for(theirs, rows)])
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("form", ["stacked", "loop", "steps", "keras"])
def test_nothing_of_a_finished_wave_stays_alive(form: str) -> None:
    wave = requests(3, epochs=1)
    results = Engine(form=form).train(wave)
    left = [weakref.ref(one.training.x) for one in wave]
    left += [weakref.ref(one.model) for one in wave]
    del wave, results
    gc.collect()
    assert [reference for reference in left if reference() is not None] == []


def test_models_are_predicted_together_as_far_as_weights_and_batches_may_take_room(
    monkeypatch: Any,
) -> None:
    """All by one program, which hands back outputs and no weights."""
    lanes: list[int] = []
    given_back: list[Any] = []
    prepare = Programs.prepare

    def noting(self: Any, key: Any, function: Any, state: Any, *others: Any, **named: Any) -> Any:
        lanes.append(len(state.trainable[0]))
        given_back.append(jax.eval_shape(function, state, *others)[0])
        return prepare(self, key, function, state, *others, **named)

    models = [seeded_model(DENSE, OPTIMIZERS["Adam"]) for _ in range(11)]
    for number, model in enumerate(models):
        model.build((None, 6))
        model.set_weights([value + number / 10 for value in model.get_weights()])
    engine, x = Engine(), data_for(table).x
    requests = [PredictRequest(model, x) for model in models]
    each = sum(value.nbytes for value in models[0].get_weights())
    each += x[: requests[0].batch_size].nbytes
    monkeypatch.setattr(choice, "_BYTES_PREDICTED", 4.5 * each)
    monkeypatch.setattr(choice, "_BYTES_PREDICTED_ON_ACCELERATOR", 4.5 * each)
    monkeypatch.setattr(Programs, "prepare", noting)
    forget_programs()
    before = engine.compilations
    outputs = engine.predict(requests)
    assert (lanes, engine.compilations - before) == ([4, 4, 4], 1)
    assert sum(map(np.size, jax.tree.leaves(given_back))) <= 4 * sum(
        np.size(variable) for variable in models[0].non_trainable_variables
    )
    for model, ours in zip(models, outputs, strict=True):
        np.testing.assert_allclose(ours, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    few = PredictRequest(models[0], x, weights=([], []))
    failed, *others = engine.predict([few, *(PredictRequest(model, x) for model in models[:3])])
    assert isinstance(failed, Exception)
    for one, other in zip(others, outputs, strict=False):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_predictions_do_not_keep_a_model_alive() -> None:
    class OfOnesOwn(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

    model = keras.Sequential([keras.Input((6,)), OfOnesOwn(), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    Engine().predict([PredictRequest(model, data_for(table).x)])
    left = weakref.ref(model)
    del model
    gc.collect()
    assert left() is None
