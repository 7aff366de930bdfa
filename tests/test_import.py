"""Importing Amalthea: what it costs, what it chooses, what it offers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import amalthea
from amalthea import backend

HEAVY = {"keras", "jax", "sklearn", "numpy", "scipy", "pandas"}


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {n: v for n, v in os.environ.items() if n != "KERAS_BACKEND"} | environment
    return subprocess.run(
        [sys.executable, *code.split("|", 1)[0].split(), "-c", code.split("|", 1)[1]],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )


def test_importing_amalthea_imports_nothing_heavy() -> None:
    stderr = _python("-X importtime|import amalthea").stderr
    lines = [line.split("|") for line in stderr.splitlines() if "|" in line]
    imported = {parts[2].strip().partition(".")[0] for parts in lines[1:]}
    assert "amalthea" in imported
    assert not imported & HEAVY


def test_every_public_name_can_be_had_and_is_listed() -> None:
    for name in amalthea.__all__:
        assert getattr(amalthea, name) is not None
        assert name in dir(amalthea)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'KerasClassifer'"):
        amalthea.KerasClassifer  # noqa: B018


def test_jax_is_chosen_when_nobody_chose(tmp_path: Path) -> None:
    out = _python("|import amalthea, keras; print(keras.backend.backend())", HOME=str(tmp_path))
    assert out.stdout.strip() == "jax"


def test_jax_is_chosen_again_after_keras_wrote_its_file(tmp_path: Path) -> None:
    for _ in range(2):  # Keras writes a file that names TensorFlow when it is first imported
        out = _python("|import amalthea, keras; print(keras.backend.backend())", HOME=str(tmp_path))
        assert out.stdout.strip() == "jax"
    assert json.loads((tmp_path / ".keras" / "keras.json").read_text())["backend"] == "tensorflow"


def test_a_backend_in_the_environment_is_respected() -> None:
    environ = {"KERAS_BACKEND": "torch"}
    with _without_keras():
        backend.choose(environ)
    assert environ["KERAS_BACKEND"] == "torch"


@pytest.mark.parametrize(
    "settings",
    [
        {"backend": "torch"},
        {"backend": "tensorflow", "floatx": "float64"},
        {"backend": "tensorflow"},
    ],
)
def test_a_backend_in_the_users_own_file_is_respected(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    environ = {"KERAS_HOME": str(tmp_path)}
    with _without_keras():
        backend.choose(environ)
    assert "KERAS_BACKEND" not in environ


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", None])
def test_a_file_without_a_choice_leaves_jax(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "keras.json").write_text(text)
    environ = {"KERAS_HOME": str(tmp_path)}
    with _without_keras():
        backend.choose(environ)
    assert environ["KERAS_BACKEND"] == "jax"


def test_nothing_is_set_once_keras_is_imported() -> None:
    import keras  # noqa: F401

    environ: dict[str, str] = {}
    backend.choose(environ)
    assert not environ


def _without_keras() -> pytest.MonkeyPatch:
    class Absent:
        def __enter__(self) -> None:
            self._keras = sys.modules.pop("keras", None)

        def __exit__(self, *error: object) -> None:
            if self._keras is not None:
                sys.modules["keras"] = self._keras

    return Absent()  # type: ignore[return-value]
