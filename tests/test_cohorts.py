"""Every form gives the numbers of Keras's own `fit`, whoever trains beside."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.extend
import keras
import numpy as np
import pytest
from jax.experimental import io_callback
from jax.interpreters import mlir

from amalthea.engine.forms import Engine, forget_programs
from amalthea.engine.lifting.families import can_be_woven
from amalthea.engine.requests import PredictRequest
from amalthea.engine.rows import Rows
from amalthea.engine.steadiness import is_steady
from amalthea.engine.structures import Structures
from engine_and_keras import (
    BATCH,
    EPOCHS,
    ON_CPU,
    KerasAlone,
    assert_equal,
    assert_same_history,
    by_keras,
    request_for,
    train,
    values_of,
)
from kinds_of_models import (
    CALLBACKS,
    MODELS,
    OPTIMIZERS,
    SEED,
    N,
    chain,
    cut,
    data_for,
    reordered,
    seeded_model,
    table,
)

L = keras.layers
O = keras.optimizers  # noqa: E741

# Older compilers round a step alone, or in a stack, otherwise than in Keras's own program. Those
# for accelerators round it otherwise in a loop too.
to_the_bit_in_every_form = ON_CPU and jax.__version_info__ >= (0, 8)
EXACT_FORM = "loop" if ON_CPU else "steps"
EACH_FORM = ["stacked", *(pytest.param(form, marks=pytest.mark.slow) for form in ("loop", "steps"))]


def dense(optimizer: str = "Adam") -> keras.Model:
    build = lambda: chain(keras.Input((6,)), L.Dense(8, "relu"))  # noqa: E731
    return seeded_model(build, OPTIMIZERS[optimizer])


def dropout(optimizer: Any = OPTIMIZERS["Adam"]) -> keras.Model:
    build = lambda: chain(keras.Input((6,)), L.Dense(8), L.Dropout(0.4))  # noqa: E731
    return seeded_model(build, optimizer)


def faster(model: keras.Model) -> keras.Model:
    model.optimizer.learning_rate = 0.03
    return model


@functools.cache
def two_of_keras(kind: str) -> tuple[keras.Model, Any, keras.Model]:
    """A model and its history, and another on other rows with another learning rate."""
    build, make = MODELS[kind]
    rows, held, adam = data_for(make, weighted=True), data_for(make), OPTIMIZERS["Adam"]
    model, other = seeded_model(build, adam), faster(seeded_model(build, adam))
    history = by_keras(model, rows, validation_data=(held.x, held.y))
    by_keras(other, reordered(rows), SEED + 1, validation_data=(held.x, held.y))
    return model, history, other


@pytest.mark.parametrize("form", EACH_FORM)
@pytest.mark.parametrize("kind", MODELS)
def test_every_form_trains_as_keras_whoever_trains_beside(kind: str, form: str) -> None:
    build, make = MODELS[kind]
    rows, held, adam = data_for(make, weighted=True), data_for(make), OPTIMIZERS["Adam"]
    ours, other, same = (seeded_model(build, adam) for _ in range(3))
    results = train(
        [
            request_for(faster(other), reordered(rows), SEED + 1, validation=held),
            request_for(ours, rows, validation=held),
            request_for(same, rows, validation=held),
        ],
        form,
    )
    assert {result.form for result in results} == {form}
    theirs, history, other_of_keras = two_of_keras(kind)
    if form == EXACT_FORM or is_steady(ours) or to_the_bit_in_every_form:
        for model, result in ((ours, results[1]), (same, results[2])):
            assert_same_history(result, history)
            assert_equal(model, theirs)
        assert_equal(other, other_of_keras)
    else:  # a weight without a gradient is all rounding: judged by the function that it gives
        for model in (ours, same):
            predicted = [m.predict(rows.x, batch_size=25, verbose=0) for m in (model, theirs)]
            np.testing.assert_allclose(*predicted, rtol=1e-3 if ON_CPU else 1e-2, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_steps_as_in_keras_in_a_stack(name: str) -> None:
    rows, make = data_for(table), functools.partial(dense, name)
    models = [make() for _ in range(3)]
    requests = [request_for(model, rows, SEED + n) for n, model in enumerate(models)]
    results = train(requests, "stacked")
    alone = KerasAlone()
    for n, (model, result) in enumerate(zip(models, results, strict=True)):
        theirs = alone.model(make)
        assert_same_history(result, by_keras(theirs, rows, SEED + n))
        assert_equal(model, theirs)


@pytest.mark.parametrize("form", EACH_FORM)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_in_every_form(policy: str, form: str) -> None:
    if not ON_CPU and form == "stacked":
        pytest.skip("accelerators round 16 bits otherwise in a stack, and the engine avoids it")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        rows, alone = data_for(table), KerasAlone()
        models = [dense() for _ in range(2)]
        train([request_for(model, rows, SEED + n) for n, model in enumerate(models)], form)
        for n, model in enumerate(models):
            theirs = alone.model(dense)
            by_keras(theirs, rows, SEED + n)
            assert_equal(model, theirs)
    finally:
        keras.config.set_dtype_policy(before)


_alone_p = jax.extend.core.Primitive("doubled_one_by_one")
_alone_p.def_abstract_eval(lambda x: x)
mlir.register_lowering(_alone_p, mlir.lower_fun(lambda x: 2 * x, multiple_results=False))


@jax.custom_vjp
def doubled(x: Any) -> Any:
    """By an operation that JAX cannot map, as those of cuDNN."""
    return _alone_p.bind(x)


doubled.defvjp(lambda x: (doubled(x), None), lambda _, gradient: (2 * gradient,))


@pytest.mark.parametrize("form", [None, "stacked"])
def test_what_cannot_be_mapped_is_trained_one_by_one(
    form: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, alone = data_for(table), KerasAlone()

    def build() -> keras.Model:
        return chain(keras.Input((6,)), L.Dense(4, activation=doubled))

    make = functools.partial(seeded_model, build, OPTIMIZERS["Adam"])

    # As an LSTM of cuDNN is, whose layer is one of Keras's.
    of_fit = Structures.of_fit

    def steady(*given: Any, **named: Any) -> Any:
        structure, state = of_fit(*given, **named)
        assert structure.train.work(BATCH, BATCH).one_by_one
        assert not can_be_woven(structure)
        return replace(structure, steady=True), state

    monkeypatch.setattr(Structures, "of_fit", steady)
    monkeypatch.setattr("amalthea.engine.parts.may_stack", lambda structure, member: True)
    models = [make() for _ in range(3)]
    requests = [request_for(model, rows, SEED + n) for n, model in enumerate(models)]
    results = train(requests, form)
    assert {result.form for result in results} == {"loop"}
    for n, model in enumerate(models):
        theirs = alone.model(make)
        by_keras(theirs, rows, SEED + n)
        assert_equal(model, theirs)
    predicted = Engine().predict([PredictRequest(model, rows.x, batch_size=25) for model in models])
    for model, ours in zip(models, predicted, strict=True):
        np.testing.assert_allclose(ours, model.predict(rows.x, verbose=0), rtol=1e-5, atol=1e-6)


def ordered(x: Any) -> Any:
    """What JAX refuses to map by another error than that it is not implemented."""
    like = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return x + io_callback(np.asarray, like, jax.lax.stop_gradient(x), ordered=True)


REFUSING: dict[str, Any] = {
    "no inputs": lambda x: jax.lax.platform_dependent(x, cpu=lambda x: x, default=lambda x: x),
    "an ordered callback": ordered,
}


@pytest.mark.parametrize("kind", REFUSING)
def test_whatever_a_model_calls_is_trained(kind: str) -> None:
    rows = data_for(table)

    def build() -> keras.Model:
        return chain(L.Dense(4, activation=REFUSING[kind]))

    ours, theirs = (seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(2))
    train([request_for(ours, rows)])
    by_keras(theirs, rows)
    assert_equal(ours, theirs)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype:UserWarning")  # of the metric
def test_a_metric_that_takes_a_diagonal_is_computed() -> None:
    rows = data_for(table)
    metrics = lambda: [keras.metrics.OneHotMeanIoU(3, name="iou")]  # noqa: E731
    hot = Rows(rows.x, np.eye(3, dtype="float32")[rows.y])
    ours, theirs = (
        seeded_model(
            MODELS["dense"][0],
            OPTIMIZERS["Adam"],
            loss="categorical_crossentropy",
            metrics=metrics(),
        )
        for _ in range(2)
    )
    (result,) = train([request_for(ours, hot)])
    assert_same_history(result, by_keras(theirs, hot))


@pytest.mark.parametrize(
    ("kind", "policy"), [("batch normalisation", "float32"), ("dense", "mixed_bfloat16")]
)
def test_what_rounding_changes_is_trained_step_by_step_on_accelerators(
    kind: str, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_programs()
    monkeypatch.setattr("amalthea.engine.choice.jax.default_backend", lambda: "gpu")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        rows, (build, _) = data_for(table), MODELS[kind]
        models = [seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(2)]
        results = train([request_for(model, rows) for model in models])
        assert {result.form for result in results} == {"steps"}
    finally:
        keras.config.set_dtype_policy(before)
        forget_programs()


def test_folds_of_unequal_size_train_as_in_keras() -> None:
    rows, alone = data_for(table), KerasAlone()
    sizes = [50, 49, 50, 48, 10, 16, 32]
    models = [dropout() for _ in sizes]
    pairs = zip(models, sizes, strict=True)
    results = train([request_for(model, cut(rows, size)) for model, size in pairs], "stacked")
    for model, size, result in zip(models, sizes, results, strict=True):
        theirs = alone.model(dropout)
        assert_same_history(result, by_keras(theirs, cut(rows, size)))
        assert_equal(model, theirs)


def test_a_cohort_repeats_itself_to_the_bit() -> None:
    rows = data_for(table)

    def weights() -> list[np.ndarray]:
        models = [dropout() for _ in range(5)]
        train([request_for(model, rows, SEED + n) for n, model in enumerate(models)], "stacked")
        return [array for model in models for array in values_of(model, "variables")]

    for one, again in zip(weights(), weights(), strict=True):
        assert np.array_equal(one, again)


def test_fits_of_different_lengths_leave_the_cohort_when_they_are_done() -> None:
    rows, alone = data_for(table), KerasAlone()
    lengths = [1, 5, 2, 3, 0]
    models = [dense() for _ in lengths]
    pairs = zip(models, lengths, strict=True)
    results = train([request_for(m, rows, epochs=length) for m, length in pairs], "stacked")
    for model, length, result in zip(models, lengths, results, strict=True):
        theirs = alone.model(dense)
        assert result.epochs == list(range(length))
        if length:
            assert_same_history(result, by_keras(theirs, rows, epochs=length))
            assert_equal(model, theirs)


@pytest.mark.parametrize("form", ["stacked", "loop"])
def test_more_epochs_than_one_call_of_a_program_takes(form: str) -> None:
    rows, held, alone = data_for(table), cut(data_for(table), 13), KerasAlone()

    def make() -> keras.Model:
        return dropout(lambda: O.SGD(1e-3))  # that roundings stay small for so long

    lengths = [35, 9, 33, 34]  # of different seeds: each lane has an order of its own
    models = [make() for _ in lengths]
    requests = [
        request_for(model, rows, SEED + n, epochs=length, validation=held)
        for n, (model, length) in enumerate(zip(models, lengths, strict=True))
    ]
    results = train(requests, form)
    for n, (model, length, result) in enumerate(zip(models, lengths, results, strict=True)):
        theirs = alone.model(make)
        assert result.epochs == list(range(length))
        of_held = (held.x, held.y)
        history = by_keras(theirs, rows, SEED + n, epochs=length, validation_data=of_held)
        assert_same_history(result, history)
        assert_equal(model, theirs)


def test_the_rest_of_a_cohort_moves_into_a_smaller_program(monkeypatch: Any) -> None:
    monkeypatch.setattr("amalthea.engine.choice._COMPILING", 0.0)  # moving is worth it at once
    rows, alone = data_for(table), KerasAlone()

    def build() -> keras.Model:
        # A bias before the normalisation would have no gradient but rounding.
        return chain(keras.Input((6,)), L.Dense(8, use_bias=False), L.BatchNormalization())

    make = functools.partial(seeded_model, build, OPTIMIZERS["Adam"])

    models = [make() for _ in range(6)]
    lengths = [1, 1, 4, 1, 3, 2]
    requests = [
        request_for(model, rows, SEED + n, epochs=length)
        for n, (model, length) in enumerate(zip(models, lengths, strict=True))
    ]
    train(requests, "stacked")
    for n, (model, length) in enumerate(zip(models, lengths, strict=True)):
        theirs = alone.model(make)
        by_keras(theirs, rows, SEED + n, epochs=length)
        assert_equal(model, theirs)


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_test_begin", "on_test_end", "on_epoch_end"])
@pytest.mark.parametrize("form", EACH_FORM)
def test_a_model_that_fails_while_it_trains_can_still_be_used(form: str, hook: str) -> None:
    """Programs consume states, but never the arrays of a model."""
    calls: list[Any] = []

    def fail(*given: Any, **named: Any) -> None:
        calls.append(given)
        if len(calls) > 2:  # both models are past their first epoch
            raise ValueError("no more")

    Fails = type("Fails", (keras.callbacks.Callback,), {hook: fail})
    rows = data_for(table)
    models = [seeded_model(MODELS["dense"][0], OPTIMIZERS["Adam"]) for _ in range(2)]
    before = [variable.value for model in models for variable in model.variables]
    requests = [request_for(model, rows, callbacks=[Fails()], validation=rows) for model in models]
    failures = Engine(form=form).train(requests)
    assert all(isinstance(failure, ValueError) for failure in failures)
    after = [variable.value for model in models for variable in model.variables]
    assert not any(array.is_deleted() for array in [*before, *after])
    for model in models:
        assert np.isfinite(model.predict(rows.x, verbose=0)).all()


@pytest.mark.parametrize("form", EACH_FORM)
def test_a_fit_that_continues_does_so_as_in_keras(form: str) -> None:
    rows, build = data_for(table), MODELS["dropout"][0]
    ours, beside = (seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(2))
    train([request_for(ours, rows), request_for(beside, rows)], form)
    first, second = (
        request_for(model, rows, epochs=5, initial_epoch=3, shuffle=False)
        for model in (ours, beside)
    )
    result, _ = train([first, second], form)
    assert result.epochs == [3, 4]
    theirs = seeded_model(build, OPTIMIZERS["Adam"])
    by_keras(theirs, rows)
    in_order = [rows.take(np.arange(n, min(n + BATCH, N))) for n in range(0, N, BATCH)] * 2
    batches = (batch for batch in in_order)
    theirs.fit(batches, epochs=5, initial_epoch=3, steps_per_epoch=4, verbose=0, shuffle=False)
    assert_equal(ours, theirs)


def early(**more: Any) -> Callable[[], Any]:
    return lambda: keras.callbacks.EarlyStopping(**{"patience": 0, **more})


STOPPING: dict[str, Callable[[], Any]] = {
    **CALLBACKS,
    "the best weights come back": early(monitor="val_loss", restore_best_weights=True),
    "accuracy, the more the better": early(monitor="val_accuracy", restore_best_weights=True),
    "only from an epoch on": early(monitor="loss", min_delta=1.0, start_from_epoch=2),
    "a baseline": early(monitor="val_loss", baseline=0.1, patience=1),
    "a plateau with a cooldown": lambda: keras.callbacks.ReduceLROnPlateau(
        "val_loss", patience=0, min_delta=10.0, cooldown=1, factor=0.5, min_lr=0.003
    ),
}


@pytest.mark.parametrize("form", EACH_FORM)
@pytest.mark.parametrize("name", STOPPING)
def test_callbacks_do_in_a_cohort_what_they_do_in_keras(name: str, form: str) -> None:
    rows, held, build = data_for(table), data_for(table), MODELS["dropout"][0]
    optimizer = OPTIMIZERS["moving average"]
    ours, beside = (seeded_model(build, optimizer) for _ in range(2))
    callbacks = [STOPPING[name](), keras.callbacks.TerminateOnNaN()]
    if "averages" in name:  # wants the model itself
        callbacks.pop()
    result, _ = train(
        [
            request_for(ours, rows, validation=held, epochs=6, callbacks=callbacks),
            request_for(beside, rows, SEED + 1, validation=held, epochs=6),
        ],
        form,
    )
    theirs = seeded_model(build, optimizer)
    other = [STOPPING[name](), *[type(callback)() for callback in callbacks[1:]]]
    history = by_keras(theirs, rows, epochs=6, validation_data=(held.x, held.y), callbacks=other)
    assert_same_history(result, history)
    assert_equal(ours, theirs)
    assert callbacks[0].model is ours
    for attribute in ("best", "wait", "stopped_epoch", "best_epoch", "monitor_op"):
        kept, expected = (getattr(c[0], attribute, None) for c in (callbacks, other))
        assert kept == expected or kept == pytest.approx(expected, rel=1e-5), attribute


@pytest.mark.parametrize("as_on", ["cpu", "accelerator"])
@pytest.mark.parametrize("form", EACH_FORM)
def test_a_fit_that_diverges_stops_where_keras_stops_it_and_harms_no_other(
    form: str, as_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if as_on == "accelerator":  # where the program consumes the copy too
        copies = functools.partial(jax.tree.map, jax.numpy.copy)
        monkeypatch.setattr("amalthea.engine.cohorts.as_copies", copies)
    rows = data_for(table)
    rows = Rows(rows.x, rows.x[:, :1])

    def build() -> keras.Model:
        return keras.Sequential([L.Dense(8), L.Dense(1)])

    def model(rate: float) -> keras.Model:
        return seeded_model(build, lambda: O.SGD(rate), loss="mse", metrics=["mae"])

    wild, stopped, calm = model(1e10), model(1e10), model(1e-12)
    on_nan = keras.callbacks.TerminateOnNaN
    results = train(
        [
            request_for(wild, rows),
            request_for(stopped, rows, callbacks=[on_nan()]),
            request_for(calm, rows),
        ],
        form,
    )
    for ours, result, rate, callbacks in (
        (wild, results[0], 1e10, []),
        (stopped, results[1], 1e10, [on_nan()]),
        (calm, results[2], 1e-12, []),
    ):
        theirs = model(rate)
        history = by_keras(theirs, rows, callbacks=callbacks)
        assert_same_history(result, history)
        assert_equal(ours, theirs)
    assert len(results[1].epochs) == 1 and len(results[2].epochs) == EPOCHS


@pytest.mark.parametrize("form", EACH_FORM)
def test_a_callback_that_raises_fails_its_own_fit_alone(form: str) -> None:
    def schedule(epoch: int, rate: float) -> float:
        if epoch == 1:
            raise ArithmeticError("no more")
        return rate

    rows, build = data_for(table), MODELS["dense"][0]
    models = [seeded_model(build, OPTIMIZERS["Adam"]) for _ in range(3)]
    requests = [request_for(model, rows) for model in models]
    requests[1] = request_for(
        models[1], rows, callbacks=[keras.callbacks.LearningRateScheduler(schedule)]
    )
    first, failed, last = Engine(form=form).train(requests)
    assert isinstance(failed, ArithmeticError)
    theirs = seeded_model(build, OPTIMIZERS["Adam"])
    history = by_keras(theirs, rows)
    for result, model in ((first, models[0]), (last, models[2])):
        assert_same_history(result, history)
        assert_equal(model, theirs)
