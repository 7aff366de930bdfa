"""Memory does not grow with the number of fits."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import weakref

import pytest

from amalthea.engine import memory

PROGRAM = """
import numpy as np, psutil
from sklearn.base import clone
from sklearn.datasets import load_iris
import keras
from amalthea import KerasClassifier

def build(units=10):
    return keras.Sequential([keras.layers.Dense(units, "relu"), keras.layers.Dense(3, "softmax")])

X, y = load_iris(return_X_y=True)
base = KerasClassifier(build, random_state=0)
for i in range(1, 201):
    fitted = clone(base).set_params(units=5 + i % 3).fit(X, y)
    fitted.predict(X)
    if i in (40, 200):
        print(f"resident after {i} fits: {psutil.Process().memory_info().rss / 1e6:.1f} MB")
"""


@pytest.mark.slow
def test_two_hundred_fits_hold_no_more_than_forty(capsys: pytest.CaptureFixture[str]) -> None:
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=os.environ
    ).stdout
    with capsys.disabled():
        print(f"\n{out}", end="")
    early, late = (float(value) for value in re.findall(r"([\d.]+) MB", out))
    assert late - early < 40


class Circle:
    """What only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


def end_wave() -> None:
    memory.after_fits(memory.FITS_BETWEEN_COLLECTIONS)
    memory.between_waves()


def test_what_many_waves_leave_behind_is_looked_at_now_and_then() -> None:
    assert not gc.get_freeze_count()
    with memory.quick_collections(), memory.waves():
        for _ in range(memory.FEW_WAVES - 1):
            end_wave()
        left, looks = Circle(), memory.WAVES_BETWEEN_LOOKS - memory.FEW_WAVES
        gone = weakref.ref(left)
        end_wave()
        del left  # it was there when that wave was over
        for _ in range(looks):
            assert gone() is not None
            fresh = weakref.ref(Circle())
            end_wave()
            assert fresh() is None
        assert gone() is None


def test_nothing_is_left_when_they_are_over() -> None:
    with memory.quick_collections(), memory.waves():
        left = Circle()
        gone = weakref.ref(left)
        for _ in range(memory.FEW_WAVES):
            end_wave()
        del left
        memory.after_fits(memory.FITS_BETWEEN_COLLECTIONS)
    assert gone() is None
    assert not gc.get_freeze_count()


def test_a_program_that_has_frozen_objects_itself_is_left_alone() -> None:
    gc.freeze()
    try:
        before = gc.get_freeze_count()
        with memory.quick_collections():
            for _ in range(memory.FEW_WAVES):
                memory.after_fits(memory.FITS_BETWEEN_COLLECTIONS)
                memory.between_waves()
            assert gc.get_freeze_count() <= before
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
