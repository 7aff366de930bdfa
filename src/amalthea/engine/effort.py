"""How well XLA compiles, by options that not every version of it has."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import jax

_unknown: set[str] = set()  # options that this version of XLA does not have


class Effort(IntEnum):
    """How well XLA compiles for CPUs.

    ``LITTLE`` takes a third of the time of ``FULL``, for code that is up to some times slower, and
    differs by less than one rounding. ``SOME`` is between them: two thirds of the time, for code
    that is nearly as fast, while it is short.
    """

    LITTLE = 0
    SOME = 1
    FULL = 2

    @property
    def options(self) -> dict[str, Any]:
        """What XLA is told; nothing for its own choice."""
        if self is Effort.FULL:
            return {}
        return {
            "xla_backend_optimization_level": int(self),
            "xla_cpu_use_fusion_emitters": False,
        }

    def compile(self, lowered: Any) -> Any:
        """The program of what was lowered.

        XLA's options come and go with its versions; it is asked without those that it refuses.
        """
        options = {name: value for name, value in self.options.items() if name not in _unknown}
        try:
            return lowered.compile(options or None)
        except jax.errors.JaxRuntimeError as error:
            refused = {name for name in options if f"option: '{name}'" in str(error)}
            if not refused:
                raise
        _unknown.update(refused)
        return self.compile(lowered)
