"""Steps on disk: they do what was traced, and are asked for only where tracing would give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest
from jax.extend.core import Primitive

from amalthea.engine import stored_steps, structures
from amalthea.engine.batching import Steps
from amalthea.engine.likeness import likeness
from amalthea.engine.programs import TracedStep, trace
from amalthea.engine.requests import FitRequest, PredictRequest
from amalthea.engine.rows import Rows
from amalthea.engine.seeding import seeded
from amalthea.engine.steps import State, state_to_predict, variables_of
from amalthea.engine.stored_steps import StoredSteps
from amalthea.engine.structures import Structure, Structures
from kinds_of_models import MODELS, N, seeded_model
from kinds_of_models import OPTIMIZERS as ALL

OPTIMIZERS = {name: optimizer for name, optimizer in ALL.items() if name != "loss scaling"}
L = keras.layers
COMPUTED = ("dropout", "convolution", "masked lstm", "attention", "clipping", "Adam")
OF_ONES_OWN = ("custom layer", "subclassed, with a loss of its own")


def small() -> keras.Model:
    return keras.Sequential([L.Input((6,)), L.Dense(4, "relu"), L.Dense(3, "softmax")])


def request_of(
    build: Callable[[], keras.Model] = small,
    x: Any = None,
    optimizer: Any = keras.optimizers.Adam,
    **changed: Any,
) -> FitRequest:
    x = np.zeros((N, 6), "float32") if x is None else x
    with seeded(0):
        model = seeded_model(build, optimizer)
        model.predict_on_batch(keras.tree.map_structure(lambda array: array[:2], x))
    rows = Rows(x, np.zeros(N, "int32"))
    alike = likeness(model, variables_of(model))
    request = FitRequest(
        model, rows, seed=0, epochs=1, batch_size=16, likeness=alike, keeps_model=True
    )
    return replace(request, **changed)


def learned(folder: Path, request: FitRequest, metrics: bool = False) -> tuple[Structure, State]:
    """What a process with that folder says of a request; others can read it then."""
    known = Structures(StoredSteps(folder))
    found = known.of_fit(request, known.likeness_of(request, {}), metrics)
    known.write()
    return found


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A list of what was traced."""
    calls: list[Any] = []

    def noting(function: Any, *arguments: Any) -> TracedStep:
        calls.append(function)
        return trace(function, *arguments)

    monkeypatch.setattr(structures, "trace", noting)
    return calls


def steps_of(structure: Structure) -> list[TracedStep]:
    assert isinstance(structure.train, Steps)
    return structure.train.all


def assert_same_steps(one: Structure, other: Structure, state: State | None = None) -> None:
    """Of the same text, spelled anew, and giving the same bits from that state."""
    assert one.key == other.key
    for ours, theirs in zip(steps_of(one), steps_of(other), strict=True):
        assert ours.flat is not None and theirs.flat is not None
        spelled, spelled_too = (
            replace(flat, equations=tuple(replace(e) for e in flat.equations)).key
            for flat in (ours.flat, theirs.flat)
        )
        assert spelled == spelled_too
        assert (ours.work, ours.frame, ours.n_rows) == (theirs.work, theirs.frame, theirs.n_rows)
        assert jax.tree.structure(ours.result_like) == jax.tree.structure(theirs.result_like)
        if state is None:
            continue
        rng = np.random.default_rng(0)
        data = [
            np.asarray(rng.integers(0, 3, (ours.n_rows, *shape)), dtype)
            for shape, dtype in ours.frame[0]
        ]
        batch = (data[0] if len(data) == 2 else data[:-1], data[-1])
        for a, b in zip(
            jax.tree.leaves(jax.jit(ours)(state, batch)),
            jax.tree.leaves(jax.jit(theirs)(state, batch)),
            strict=True,
        ):
            if jax.default_backend() == "cpu":
                np.testing.assert_array_equal(a, b)
            else:  # sums in no order there
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind not in OF_ONES_OWN])
def test_what_one_process_has_traced_the_next_one_reads(
    kind: str, tmp_path: Path, traced: list[Any]
) -> None:
    build, make = MODELS[kind]
    x = make(np.random.default_rng(0))
    first, state = learned(tmp_path, request_of(build, x))
    assert len(traced) == 2  # a whole batch and a short one
    again, state_again = learned(tmp_path, request_of(build, x))
    assert len(traced) == 2
    assert again.steady == first.steady
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(state_again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert_same_steps(first, again, state if kind in COMPUTED else None)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_are_read_too(name: str, tmp_path: Path, traced: list[Any]) -> None:
    first, state = learned(tmp_path, request_of(optimizer=OPTIMIZERS[name]))
    again, state_again = learned(tmp_path, request_of(optimizer=OPTIMIZERS[name]))
    assert len(traced) == 2
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(state_again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert_same_steps(first, again, state if name in COMPUTED else None)


def test_validation_and_prediction_are_read_too(tmp_path: Path, traced: list[Any]) -> None:
    held = Rows(np.zeros((9, 6), "float32"), np.zeros(9, "int32"))
    keys = []
    for _ in range(2):
        known, request = Structures(StoredSteps(tmp_path)), request_of(validation=held)
        structure, _ = known.of_fit(request, known.likeness_of(request, {}))
        asked = PredictRequest(request.model, request.training.x, likeness=request.likeness)
        predicted = known.of_predict(asked, state_to_predict(request.model), {})
        known.write()
        keys.append((structure.key, predicted.key))
    assert len(traced) == 4  # two to train, one to validate, one to predict
    assert keys[0] == keys[1]


def test_a_model_that_is_not_built_yet_gets_its_variables(tmp_path: Path) -> None:
    def request() -> FitRequest:
        with seeded(0):
            layers = [L.Dense(5, "relu"), L.Dense(3, "softmax")]
            model = seeded_model(lambda: keras.Sequential(layers), keras.optimizers.Adam)
        rows = Rows(np.zeros((N, 6), "float32"), np.zeros(N, "int32"))
        return FitRequest(model, rows, seed=0, epochs=1, batch_size=16)

    first, state = learned(tmp_path, request())
    again, state_again = learned(tmp_path, request())
    assert len(state.trainable) == 4 and again.key == first.key
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(state_again), strict=True):
        np.testing.assert_array_equal(one, other)


def other_units() -> keras.Model:
    return keras.Sequential([L.Input((6,)), L.Dense(5, "relu"), L.Dense(3, "softmax")])


CHANGES: dict[str, Callable[[], FitRequest]] = {
    "another width": lambda: request_of(other_units),
    "another size of batches": lambda: request_of(batch_size=8),
    "other types": lambda: request_of(x=np.zeros((N, 6), "int32")),
    "another optimizer": lambda: request_of(optimizer=keras.optimizers.SGD),
    "another number": lambda: request_of(optimizer=lambda: keras.optimizers.Adam(beta_1=0.8)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_tracing_tells_apart_is_traced(change: str, tmp_path: Path, traced: list[Any]) -> None:
    first, _ = learned(tmp_path, request_of())
    del traced[:]
    other, _ = learned(tmp_path, CHANGES[change]())
    assert traced and first.key != other.key


@pytest.mark.parametrize("what", ["the code of Keras", "a setting", "the engine", "a method"])
def test_under_other_conditions_it_is_traced(
    what: str, tmp_path: Path, traced: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    learned(tmp_path, request_of())
    del traced[:]
    if what == "the code of Keras":
        monkeypatch.setattr(stored_steps, "_code_of_keras", lambda: "edited")
    if what == "the engine":
        monkeypatch.setattr("amalthea.engine.stored_files._surroundings", lambda: "elsewhere")
    if what == "a method":
        call = keras.layers.Dense.call

        def twice(self: Any, inputs: Any, training: Any = None) -> Any:
            return 2 * call(self, inputs, training)

        monkeypatch.setattr(keras.layers.Dense, "call", twice)
    if what == "a setting":
        before = keras.config.epsilon()
        keras.config.set_epsilon(1e-4)
    try:
        learned(tmp_path, request_of())
    finally:
        if what == "a setting":
            keras.config.set_epsilon(before)
    assert len(traced) == 2


def test_what_is_traced_under_a_patch_is_not_there_for_others(
    tmp_path: Path, traced: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Structures(StoredSteps(tmp_path))

    def learn(**changed: Any) -> str:
        request = request_of(**changed)
        structure, _ = known.of_fit(request, known.likeness_of(request, {}))
        known.write()
        return structure.key

    learn()  # the form has been told
    call = keras.layers.Dense.call

    def twice(self: Any, inputs: Any, training: Any = None) -> Any:
        return 2 * call(self, inputs, training)

    with monkeypatch.context() as patch:
        patch.setattr(keras.layers.Dense, "call", twice)
        patched = learn(batch_size=10)
    other, _ = learned(tmp_path, request_of(batch_size=10))
    assert other.key != patched
    assert len(traced) == 2 + 1 + 1  # ten rows leave no short batch


class Factor:
    by = 1.0


class Penalised(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return Factor.by * keras.ops.mean(y_pred, axis=-1)


def test_a_loss_of_ones_own_that_is_given_as_a_class_is_traced_each_time(
    tmp_path: Path, traced: list[Any]
) -> None:
    def request() -> FitRequest:
        asked = request_of()
        asked.model.compile("adam", loss=Penalised)
        return replace(asked, likeness=likeness(asked.model, variables_of(asked.model)))

    keys = []
    for factor in (1.0, 100.0):
        Factor.by = factor
        keys.append(learned(tmp_path, request())[0].key)
    assert keys[0] != keys[1]
    assert len(traced) == 4


def test_names_of_variables_matter() -> None:
    def named(name: str) -> keras.Model:
        model = small()
        model.extra = keras.Variable(np.zeros((4, 4), "float32"), name=name)
        return model

    one, other = (request_of(lambda name=name: named(name)).likeness for name in ("a", "b"))
    assert one is not None and one != other


def test_beginnings_take_little_room(tmp_path: Path) -> None:
    def wide() -> keras.Model:
        return keras.Sequential([L.Input((6,)), L.Dense(5000), L.Dense(3, "softmax")])

    learned(tmp_path, request_of(wide))
    assert all(path.stat().st_size < 100_000 for path in tmp_path.iterdir())
    _, state = learned(tmp_path, request_of(wide))
    assert [array.shape for array in state.optimizer[2:4]] == [(6, 5000)] * 2


def test_who_looks_at_metrics_gets_those_of_its_model(tmp_path: Path, traced: list[Any]) -> None:
    learned(tmp_path, request_of())
    del traced[:]
    without, _ = learned(tmp_path, request_of())
    assert without.metrics is None
    looking, _ = learned(tmp_path, request_of(), metrics=True)
    assert looking.metrics and looking.key == without.key
    assert not traced


@pytest.mark.parametrize("content", [b"", b"nonsense", None], ids=["empty", "nonsense", "cut off"])
def test_files_that_cannot_be_read_are_written_anew(
    content: bytes | None, tmp_path: Path, traced: list[Any]
) -> None:
    learned(tmp_path, request_of())
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    learned(tmp_path, request_of())
    assert len(traced) == 4
    learned(tmp_path, request_of())
    assert len(traced) == 4


def test_what_cannot_be_written_down_is_traced_each_time(tmp_path: Path) -> None:
    own = Primitive("of_ones_own")
    own.def_abstract_eval(lambda x: x)
    steps = [
        trace(lambda state, x: (state, own.bind(x)), np.float32(0), np.zeros(3, "float32")),
        trace(
            lambda state, x: (state, jax.pure_callback(np.sin, jax.typeof(x), x)),
            np.float32(0),
            np.zeros(3, "float32"),
        ),
    ]
    stored = StoredSteps(tmp_path)
    for number, step in enumerate(steps):
        stored.keep((number,), step)
    stored.write()
    assert not list(tmp_path.iterdir())
    assert stored.load((0,)) is None


def test_where_nothing_is_stored_nothing_is_spelled_out(
    monkeypatch: pytest.MonkeyPatch, traced: list[Any]
) -> None:
    monkeypatch.setattr("amalthea.engine.alike.Forms.told", lambda *_: pytest.fail("spelled"))
    known, request = Structures(), request_of()
    known.of_fit(request, known.likeness_of(request, {}))
    known.write()
    assert len(traced) == 2
