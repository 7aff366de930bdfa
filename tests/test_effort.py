"""How well XLA compiles, whatever options its version has."""

from __future__ import annotations

import types
from typing import Any

import jax
import numpy as np
import pytest

from amalthea.engine import effort
from amalthea.engine.effort import Effort


@pytest.mark.parametrize("level", Effort)
def test_every_effort_compiles_here(level: Effort) -> None:
    lowered = jax.jit(lambda x: x + 1).lower(np.ones(3, "float32"))
    np.testing.assert_array_equal(level.compile(lowered)(np.ones(3, "float32")), 2.0)


def test_options_that_this_xla_does_not_have_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX 0.11 has not all of those of 0.10."""
    monkeypatch.setattr(effort, "_unknown", set())
    options = Effort.LITTLE.options | {"xla_cpu_of_yesterday": True, "xla_cpu_of_1999": 1}
    monkeypatch.setattr(Effort, "options", options)
    lowered = jax.jit(lambda x: x + 1).lower(np.ones(3, "float32"))
    for _ in range(2):
        np.testing.assert_array_equal(Effort.LITTLE.compile(lowered)(np.ones(3, "float32")), 2.0)
    assert {"xla_cpu_of_yesterday", "xla_cpu_of_1999"} <= effort._unknown
    assert "xla_backend_optimization_level" not in effort._unknown


def test_other_errors_of_xla_are_told() -> None:
    def compile(options: Any) -> Any:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")

    with pytest.raises(jax.errors.JaxRuntimeError, match="EXHAUSTED"):
        Effort.LITTLE.compile(types.SimpleNamespace(compile=compile))
