"""Models that predict at the same time: what one program serves, and when it is prepared."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import keras
import numpy as np
import pytest
from scipy import sparse
from sklearn.model_selection import KFold, cross_validate

import amalthea
from amalthea.engine.forms import Engine, forget_programs
from amalthea.engine.programs import Programs
from amalthea.engine.requests import PredictRequest

L = keras.layers
SIZE = 8


@pytest.fixture(autouse=True)
def nothing_is_known() -> Iterator[None]:
    forget_programs()
    yield
    forget_programs()


def dense(units: int) -> keras.Model:
    keras.utils.set_random_seed(units)
    model = keras.Sequential([L.Input((3,)), L.Dense(units, "tanh"), L.Dense(2)])
    model.compile("sgd", loss="mse")
    return model


def mixed() -> keras.Model:
    number, word = L.Input((3,), name="number"), L.Input((1,), dtype="int32", name="word")
    joined = L.concatenate([number, L.Flatten()(L.Embedding(5, 2)(word))])
    model = keras.Model({"number": number, "word": word}, L.Dense(2)(joined))
    model.compile("sgd", loss="mse")
    return model


def assert_predicted(engine: Engine, models: list[keras.Model], xs: list[Any]) -> None:
    """Each as Keras predicts it."""
    requests = [PredictRequest(model, x, SIZE) for model, x in zip(models, xs, strict=True)]
    for model, x, outputs in zip(models, xs, engine.predict(requests), strict=True):
        x = x.toarray() if sparse.issparse(x) else x
        theirs = model.predict(x, batch_size=SIZE, verbose=0)
        np.testing.assert_allclose(outputs, theirs, rtol=1e-5, atol=1e-6)


def test_one_program_serves_any_number_of_rows_and_of_arrays() -> None:
    rng, engine, models = np.random.default_rng(0), Engine(), [dense(2), dense(5)]
    before = engine.compilations
    for n_rows in (1, SIZE, 3 * SIZE + 1):
        shared = rng.normal(size=(n_rows, 3)).astype("float32")
        assert_predicted(engine, models, [shared, shared])
        assert_predicted(engine, models, [shared, shared[::-1]])
    assert engine.compilations - before == 1


def test_rows_of_any_kind_are_cut_into_batches() -> None:
    rng, engine = np.random.default_rng(0), Engine()
    x = rng.normal(size=(11, 3)) * (rng.random((11, 3)) < 0.5)
    assert_predicted(engine, [dense(2), dense(3)], [sparse.csr_matrix(x), x.astype("float64")])
    several = {"number": x.astype("float32"), "word": rng.integers(0, 5, (11, 1))}
    assert_predicted(engine, [mixed(), mixed()], [several, several])


def test_many_models_are_predicted_by_one_program_whatever_is_left_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("amalthea.engine.predictions.lanes_to_predict", lambda _: 4)
    rng, engine = np.random.default_rng(0), Engine()
    x = rng.normal(size=(SIZE, 3)).astype("float32")
    before = engine.compilations
    assert_predicted(engine, [dense(n) for n in range(2, 11)], [x] * 9)
    assert engine.compilations - before == 1


def test_a_program_takes_no_more_than_some_batches_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for most in ("_BYTES_PREDICTED", "_BYTES_PREDICTED_ON_ACCELERATOR"):
        monkeypatch.setattr(f"amalthea.engine.choice.{most}", 2**14)
    lanes = (1, 2, 4, 8, 16)  # an accelerator has no fewer than many
    monkeypatch.setattr("amalthea.engine.choice._LANES_ON_ACCELERATOR", lanes)
    taken = []
    prepare = Programs.prepare

    def noting(self: Programs, key: Any, function: Any, state: Any, x: Any, **named: Any) -> Any:
        taken.append(x.nbytes)
        return prepare(self, key, function, state, x, **named)

    monkeypatch.setattr(Programs, "prepare", noting)
    x = np.zeros((400, 3), "float32")
    requests = [PredictRequest(dense(n), x, len(x)) for n in range(2, 11)]
    Engine().predict(requests)
    assert taken and max(taken) <= 2**14


def small(units: int = 4) -> keras.Model:
    model = keras.Sequential([L.Input((4,)), L.Dense(units, "relu"), L.Dense(3, "softmax")])
    model.compile("adam", loss="sparse_categorical_crossentropy")
    return model


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The first word of each program that is compiled, and whether in a pool."""
    calls: list[tuple[str, bool]] = []
    prepare = Programs.prepare

    def noting(self: Programs, key: Any, *args: Any, pool: Any = None, **named: Any) -> Any:
        before = self.compilations
        program = prepare(self, key, *args, pool=pool, **named)
        if self.compilations > before:
            calls.append((key[0], pool is not None))
        return program

    monkeypatch.setattr(Programs, "prepare", noting)
    return calls


def test_how_a_search_predicts_is_prepared_while_it_trains(
    iris: Any, prepared: list[tuple[str, bool]]
) -> None:
    estimator = amalthea.KerasClassifier(small, epochs=2, random_state=0)
    search = amalthea.GridSearchCV(estimator, {"units": [3, 5]}, cv=3, refit=False)
    search.fit(*iris)
    assert prepared == [("run", True), ("predict together", True)]
    assert search.programs_ == 2


def test_what_nobody_asks_for_is_not_prepared(iris: Any, prepared: list[tuple[str, bool]]) -> None:
    amalthea.KerasClassifier(small, epochs=1, random_state=0).fit(*iris)
    assert prepared and all("predict" not in word for word, _ in prepared)


def test_a_model_that_cannot_be_foreseen_is_told_of_where_it_predicts(
    iris: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("amalthea.engine.structures.predict_step", fails)
    monkeypatch.setattr("amalthea.engine.stored_steps.StoredSteps.load", lambda *_: None)
    estimator = amalthea.KerasClassifier(small, epochs=1, random_state=0)
    with amalthea.lockstep(), pytest.raises(ZeroDivisionError):
        cross_validate(estimator, *iris, cv=KFold(3), error_score="raise")


def test_a_program_that_was_cancelled_is_prepared_again() -> None:
    known, x = Programs(), np.ones(3, "float32")
    may_end = Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(may_end.wait)
        waiting = known.prepare(("double",), lambda x: 2 * x, x, pool=pool)
        pool.shutdown(wait=False, cancel_futures=True)  # as an interrupt does
        may_end.set()
    assert waiting.cancelled()
    again = known.prepare(("double",), lambda x: 2 * x, x)
    np.testing.assert_array_equal(again.result()(x), [2, 2, 2])
    assert known.compilations == 1
