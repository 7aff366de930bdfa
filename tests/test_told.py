"""Words that are told to other processes mean the same there."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest

from amalthea.engine.told import Sign, Telling

L = keras.layers
PROGRAM = """
import keras
from amalthea.engine.likeness import likeness
from amalthea.engine.steps import variables_of
L = keras.layers
model = keras.Sequential([L.Input((4,)), L.Dense(5, "relu", kernel_regularizer="l2"), L.Dense(1)])
model.compile("adam", "mse", metrics=["mae", keras.metrics.AUC(num_thresholds=5)])
print(likeness(model, variables_of(model)).form().telling().digest)
"""


@pytest.mark.slow
def test_two_processes_tell_the_same_of_the_same_model() -> None:
    outs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    (out,) = outs
    assert len(out.strip()) == 64


def function(x: Any, names: Any = frozenset({"a", "b"})) -> Any:
    return x in {"c", "d", "e"}


def told(*words: Any) -> str | None:
    return Telling(words).digest


class OfOnesOwn:
    pass


APART: dict[str, tuple[Any, Any]] = {
    "numbers of other types": (1, 1.0),
    "zeros": (0.0, -0.0),
    "text and bytes": ("a", b"a"),
    "classes": (L.Dense, L.Dropout),
    "types of numbers": (np.dtype("float32"), np.dtype("float64")),
    "numbers of NumPy": (np.float32(1), np.float64(1)),
    "how they are grouped": ((1, 2), (1, (2,))),
    "code": (function.__code__, (lambda x: x).__code__),
    "signs": (Sign("again"), Sign("number")),
    "a sign and its text": (Sign("again"), "<again>"),
}


@pytest.mark.parametrize("name", APART)
def test_what_differs_is_told_apart(name: str) -> None:
    one, other = (told(word) for word in APART[name])
    assert one is not None and other is not None and one != other


@pytest.mark.parametrize("word", [object(), mock.Mock(), OfOnesOwn, lambda: 0])
def test_what_means_nothing_elsewhere_is_not_told(word: Any) -> None:
    assert told("before", word) is None


def other(self: Any, *args: Any) -> Any:
    return None


REPLACEMENTS = {
    "a function": other,
    "a mock": mock.Mock(),
    "part of a function": functools.partial(other, None),
    "part of a method": functools.partialmethod(other),
    "a property": property(other),
    "a class method": classmethod(other),
}


@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize("kind", [L.Layer, L.Dense])
def test_a_class_that_somebody_changes_is_not_told_meanwhile(
    kind: type, replacement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Telling([L.Dense])
    assert before.digest is not None and before.holds()
    with monkeypatch.context() as patch:
        patch.setattr(kind, "compute_mask", REPLACEMENTS[replacement], raising=False)
        assert not before.holds()
        meanwhile = Telling([L.Dense])
        assert meanwhile.digest is None and meanwhile.holds()
    assert not meanwhile.holds()
    assert Telling([L.Dense]).digest == before.digest


def test_classes_of_keras_are_told_as_they_come() -> None:
    public = [
        thing
        for module in (L, keras.optimizers, keras.losses, keras.metrics, keras.regularizers)
        for thing in vars(module).values()
        if isinstance(thing, type)
    ]
    assert len(public) > 100
    assert [kind for kind in public if told(kind) is None] == []
