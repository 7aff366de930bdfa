"""Memory does not grow with the number of fits."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

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
