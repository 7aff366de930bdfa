"""Compiled programs on disk: found again, never half written, bounded, and easily switched off."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jax.extend.core import Primitive

from amalthea.engine import programs
from amalthea.engine.programs import Programs
from amalthea.engine.stored_files import FOLDER, READS_QUIETLY
from amalthea.engine.stored_programs import StoredPrograms

pytestmark = pytest.mark.skipif(not READS_QUIETLY, reason="not used with this JAX")
X = np.arange(6.0, dtype="float32").reshape(2, 3)


@pytest.fixture(autouse=True)
def no_cache_of_jax() -> Iterator[None]:
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


def double(x: Any) -> Any:
    return {"doubled": 2 * x, "sum": x.sum()}


def not_to_be_traced(x: Any) -> Any:
    raise AssertionError("it stands on disk")


def prepared(folder: Path, function: Any, *key: Any, x: Any = X) -> Any:
    another = Programs(stored=StoredPrograms(folder))  # as another process would
    return another.prepare(key, function, x).result()


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_a_program_is_found_again_and_not_even_traced(tmp_path: Path) -> None:
    first = prepared(tmp_path, double, "double")
    again = prepared(tmp_path, not_to_be_traced, "double")
    for program in (first, again):
        result = program(X)
        np.testing.assert_array_equal(result["doubled"], 2 * X)
        assert result["sum"] == X.sum()
    assert again.memory_analysis() is not None


@pytest.mark.parametrize("change", ["key", "shape", "type", "settings", "surroundings"])
def test_what_differs_in_anything_is_compiled(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(tmp_path, double, "double")
    key, x = ("another",) if change == "key" else ("double",), X
    if change == "shape":
        x = X[:1]
    if change == "type":
        x = X.astype("int32")
    if change == "surroundings":
        monkeypatch.setattr("amalthea.engine.stored_files._surroundings", lambda: "elsewhere")
    if change == "settings":
        jax.config.update("jax_numpy_rank_promotion", "warn")
    try:
        prepared(tmp_path, lambda x: x.sum(), *key, x=x)
    finally:
        jax.config.update("jax_numpy_rank_promotion", "allow")
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("content", [b"", b"nonsense", None], ids=["empty", "nonsense", "cut off"])
def test_a_file_that_cannot_be_read_is_written_anew(tmp_path: Path, content: bytes | None) -> None:
    prepared(tmp_path, double, "double")
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    program = prepared(tmp_path, double, "double")
    np.testing.assert_array_equal(program(X)["doubled"], 2 * X)
    assert prepared(tmp_path, not_to_be_traced, "double") is not None


def test_nothing_is_left_of_a_file_that_could_not_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match=f"no space left.*{FOLDER}"):
        program = prepared(tmp_path, double, "double")
    np.testing.assert_array_equal(program(X)["doubled"], 2 * X)
    assert files(tmp_path) == []


def test_where_nothing_can_be_written_one_warning_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Programs(stored=StoredPrograms(tmp_path / "file" / "folder"))
    with pytest.warns(UserWarning, match=FOLDER) as told:
        for name in ("one", "two"):
            kept.prepare((name,), double, X).result()(X)
    assert len(told) == 1


def test_those_that_were_not_used_for_the_longest_time_go(tmp_path: Path) -> None:
    prepared(tmp_path, double, "0")
    size = files(tmp_path)[0].stat().st_size
    stored = StoredPrograms(tmp_path, most_bytes=int(3.5 * size))
    for name in "012":
        Programs(stored=stored).prepare((name,), double, X).result()
        for path in files(tmp_path):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 100))
    prepared(tmp_path, not_to_be_traced, "0")  # is used, so "1" is the oldest
    Programs(stored=stored).prepare(("3",), double, X).result()
    assert len(files(tmp_path)) == 3
    for name in "023":
        prepared(tmp_path, not_to_be_traced, name)


def test_what_is_not_ours_in_the_folder_stays(tmp_path: Path) -> None:
    prepared(tmp_path, double, "0")
    (first,) = files(tmp_path)
    os.utime(first, (0, 0))
    (tmp_path / "letter").write_bytes(bytes(10_000_000))
    (tmp_path / "folder").mkdir()
    stored = StoredPrograms(tmp_path, most_bytes=int(1.5 * first.stat().st_size))
    Programs(stored=stored).prepare(("1",), double, X).result()
    assert not first.exists() and len(list(tmp_path.glob("*.program"))) == 1
    assert (tmp_path / "letter").exists() and (tmp_path / "folder").exists()


def test_nobody_else_may_look_into_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    prepared(folder, double, "double")
    assert folder.stat().st_mode & 0o077 == 0
    assert files(folder)[0].stat().st_mode & 0o077 == 0


def test_a_cache_of_jax_that_somebody_chose_goes_first(tmp_path: Path) -> None:
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "of jax"))
    prepared(tmp_path / "ours", double, "double")
    assert not (tmp_path / "ours").exists()


def test_a_program_that_cannot_be_written_down_still_runs(tmp_path: Path) -> None:
    def calls_home(x: Any) -> Any:
        return jax.pure_callback(lambda x: np.asarray(x) + 1, jax.typeof(x), x)

    program = prepared(tmp_path, calls_home, "calls home")
    np.testing.assert_array_equal(program(X), X + 1)


def test_a_program_that_cannot_be_run_is_compiled_after_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise jax.errors.JaxRuntimeError("NOT_FOUND: a function")

    prepared(tmp_path, double, "double")
    monkeypatch.setattr("amalthea.engine.stored_programs._load", lambda *a, **k: broken)
    program = prepared(tmp_path, double, "double")
    for _ in range(2):
        np.testing.assert_array_equal(program(X)["doubled"], 2 * X)


def test_what_it_consumed_before_it_broke_is_given_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(x: Any) -> Any:
        if isinstance(x, jax.Array):
            x.delete()
        raise jax.errors.JaxRuntimeError("NOT_FOUND: a function")

    stored = StoredPrograms(tmp_path)
    Programs(stored=stored).prepare(("double",), double, X, consumes=True).result()
    monkeypatch.setattr("amalthea.engine.stored_programs._load", lambda *a, **k: broken)
    program = Programs(stored=stored).prepare(("double",), double, X, consumes=True).result()
    np.testing.assert_array_equal(program(jax.numpy.asarray(X))["doubled"], 2 * X)


@pytest.mark.parametrize(
    ("asked", "folder"),
    [("0", None), ("", "user"), ("/mine", "/mine/programs"), ("~/mine", "/home/me/mine/programs")],
)
def test_a_variable_chooses_the_folder(
    asked: str, folder: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, asked)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: Path("/caches") / name)
    found = StoredPrograms.of_user()._files._folder
    expected = Path("/caches/amalthea/programs") if folder == "user" else folder and Path(folder)
    assert found == expected


PROGRAM = """
import keras, numpy as np
from sklearn.datasets import load_iris
import amalthea
from amalthea.engine import programs, structures

def build(units=4):
    L = keras.layers
    return keras.Sequential([L.Input((4,)), L.Dense(units, "relu"), L.Dense(3, "softmax")])

compiled, traced = [], []
compile, trace = programs.Programs._compile, structures.trace
programs.Programs._compile = lambda *a: compiled.append(a) or compile(*a)
structures.trace = lambda *a: traced.append(a) or trace(*a)
X, y = load_iris(return_X_y=True)
estimator = amalthea.KerasClassifier(build, epochs=3, random_state=0)
search = amalthea.GridSearchCV(estimator, {"units": [3, 5]}, cv=3).fit(X, y)
scores = search.cv_results_["mean_test_score"]
print(len(compiled), len(traced), search.programs_, *scores)
"""


@pytest.mark.slow
def test_the_next_process_traces_and_compiles_nothing_and_finds_the_same(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if "JAX" not in name}
    env[FOLDER] = str(tmp_path)
    outs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=env
        ).stdout.split()
        for _ in range(2)
    ]
    compiled, traced, *found = outs[0]
    assert int(compiled) == int(found[0]) > 0
    assert int(traced) > 0
    assert outs[1] == ["0", "0", *found]


def test_a_step_whose_text_has_an_address_is_known_to_this_process_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same = Primitive("same")
    same.def_abstract_eval(lambda x, told_by: x)

    def keys(function: Any) -> tuple[str, str]:
        here = programs.trace(lambda s, x: (s, function(x)), jnp.zeros(()), X).key
        with monkeypatch.context() as other:
            other.setattr(programs, "_THIS_PROCESS", "another")
            return here, programs.trace(lambda s, x: (s, function(x)), jnp.zeros(()), X).key

    here, elsewhere = keys(lambda x: same.bind(x, told_by=object()))
    assert here != elsewhere
    here, elsewhere = keys(jnp.sin)
    assert here == elsewhere
