"""What JAX itself says about its tracing and compiling in this process."""

from __future__ import annotations

import time

import jax.monitoring

_TRACE, _LOWER, _COMPILE = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


class Compilations:
    """Notes when something was traced, lowered or compiled, on any thread."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []
        self._compiled: list[float] = []
        jax.monitoring.register_event_duration_secs_listener(self._note)

    def _note(self, event: str, duration_secs: float, **_: object) -> None:
        if event in (_TRACE, _LOWER, _COMPILE):
            now = time.perf_counter()
            self._spans.append((now - duration_secs, now))
            if event == _COMPILE:
                self._compiled.append(now)

    def between(self, start: float, end: float) -> dict[str, float]:
        """Seconds in which at least one thread traced or compiled, and programs compiled."""
        spans = [(max(a, start), min(b, end)) for a, b in self._spans if b > start and a < end]
        compiled = sum(start <= moment <= end for moment in self._compiled)
        return {"compile": covered(spans), "executables": compiled}


def covered(spans: list[tuple[float, float]]) -> float:
    """The length of the union of some spans of time."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
