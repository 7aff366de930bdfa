"""One measurement, in the interpreter of one solver: prints one line of JSON.

python bench/child.py SOLVER WORKLOAD SHARE
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
from dataclasses import asdict
from typing import Any


def main(solver: str, name: str, share: float) -> None:
    module, _, n_jobs = solver.partition(":")
    durations = _listen_to_jax() if module in _ON_JAX else {}
    more: dict[str, Any] = {"n_jobs": int(n_jobs)} if n_jobs else {}
    peer = importlib.import_module(f"peers.{module}")
    workload = importlib.import_module("workloads").workload(name)
    outcome = asdict(peer.run(workload, workload.some(share), **more))
    own, children = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(json.dumps({**outcome, "peak_mb": (own + children) / 1000, "jax": durations}))


_ON_JAX = ("with_amalthea", "by_hand", "with_keras_wrappers", "with_keras_tuner")
_ON_JAX += ("with_optuna", "with_jax")


def _listen_to_jax() -> dict[str, float]:
    """Seconds of tracing, lowering and compiling, and the count of programs, as they come."""
    if "with_amalthea" in sys.argv[1]:
        import amalthea  # noqa: F401  chooses the backend before Keras is imported
    import jax

    seen = {"trace": 0.0, "lower": 0.0, "compile": 0.0, "programs": 0.0}
    names = {"jaxpr_trace": "trace", "jaxpr_to_mlir": "lower", "backend_compile": "compile"}

    def note(event: str, seconds: float, **_: Any) -> None:
        for part, name in names.items():
            if part in event:
                seen[name] += seconds
                seen["programs"] += name == "compile"

    jax.monitoring.register_event_duration_secs_listener(note)
    return seen


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
