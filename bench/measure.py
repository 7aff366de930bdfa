"""Measuring one solver on one workload, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import environments
from agreement import check_work
from solvers import Solver
from workloads import Workload

PART_SECONDS = 5.0  # of a slow solver's work, about
FEWEST_CANDIDATES = 2
_CHILD = Path(__file__).parent / "child.py"


def share_of(solver: Solver, workload: Workload) -> float:
    """The share of the candidates that a solver is measured on."""
    whole = solver.slowness * workload.seconds * workload.n_fits
    if whole <= PART_SECONDS:
        return 1.0
    fewest = FEWEST_CANDIDATES / len(workload.candidates)
    return min(1.0, max(fewest, PART_SECONDS / whole))


def measured(solver: Solver, workload: Workload, cache: str | None = None) -> dict[str, Any]:
    """What the child printed, with the seconds of its whole process.

    Raises
    ------
    agreement.Disagreement
        When it ran other fits or epochs than it was asked to.
    """
    share = share_of(solver, workload)
    started = time.perf_counter()
    python = environments.interpreter(solver.environment)
    out = subprocess.run(
        [python, "-W", "ignore", str(_CHILD), solver.module, workload.name, repr(share)],
        env=_surroundings(solver, cache),
        capture_output=True,
        text=True,
        check=False,
    )
    if out.returncode:
        raise RuntimeError(f"{solver.title} on {workload.name} failed:\n{out.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(out.stdout.splitlines()[-1])
    result["process"] = time.perf_counter() - started
    candidates = workload.some(share)
    epochs = sum(map(workload.epochs_of, candidates)) * workload.n_folds
    check_work(
        f"{solver.title} on {workload.name}", result, len(candidates) * workload.n_folds, epochs
    )
    return result


def _surroundings(solver: Solver, cache: str | None) -> dict[str, str]:
    """The environment of a child: no compilation cache, unless it is to have one."""
    settings = {n: v for n, v in os.environ.items() if not n.startswith(("JAX_", "KERAS_"))}
    if solver.backend:
        settings["KERAS_BACKEND"] = solver.backend
    settings["TF_CPP_MIN_LOG_LEVEL"] = "3"
    settings["CUDA_VISIBLE_DEVICES"] = ""
    if cache is not None:
        settings["JAX_COMPILATION_CACHE_DIR"] = cache
        settings["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        settings["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    return settings
