"""Shared by all tests: the compilation cache, and data that is made once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Most tests train the same few small models: compile each program once per machine, not per fit.
_cache = Path(tempfile.gettempdir()) / f"amalthea-tests-jax-{os.getuid()}"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from sklearn.datasets import load_iris  # noqa: E402

import amalthea  # noqa: E402, F401  chooses the backend before Keras is imported


@pytest.fixture(scope="session")
def iris() -> tuple[np.ndarray, np.ndarray]:
    return load_iris(return_X_y=True)
