"""The limit: one hand-written JAX program for a whole grid, without Keras and any search.

All fits are lanes of stacked arrays, padded to the widest network and the largest batch. What a
person would write who knows the grid and nothing else: no checks, no generality, no scorers.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import lanes
import numpy as np
from jax_program import program
from parts import Part
from workloads import Workload

from .outcome import Outcome

LANES_AT_ONCE = 1000
# XLA's compiler at its quickest, which pays where the program does not run for long.
_QUICK: Any = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
_LONG = 3e9  # multiplications; from here on a well compiled program is worth its compilation


def run(workload: Workload, part: Part) -> Outcome:
    data, folds, candidates = workload.data(), part.folds_of(workload), part.candidates_of(workload)
    started = time.perf_counter()
    grid = lanes.Grid.of(workload, data, folds, candidates)
    scores = lanes.scores(grid, _outputs(grid))
    ended = time.perf_counter()
    spans = [[(started, ended)] * len(folds) for _ in candidates]  # all at once
    epochs, steps = lanes.epochs(grid), lanes.steps(grid)
    return Outcome(started, ended - started, spans, epochs, steps, scores, more={"programs_": 1})


def _outputs(grid: lanes.Grid) -> np.ndarray:
    chunks = grid.chunks(LANES_AT_ONCE)
    compiled = _compiled(grid, chunks[0])
    shared = jax.device_put(grid.shared)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        parts = list(threads.map(lambda chunk: np.asarray(compiled(shared, chunk)), chunks))
    return np.concatenate(parts)[: grid.n_lanes]


def _compiled(grid: lanes.Grid, chunk: Any) -> Any:
    options = _QUICK if grid.multiplications < _LONG else None
    function = jax.jit(program(grid.static))
    return function.lower(grid.shared, chunk).compile(compiler_options=options)
