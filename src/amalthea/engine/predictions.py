"""Predictions in compiled programs, batches of one shape each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .costs import effort_for_predicting
from .programs import Effort, Programs
from .requests import PredictRequest
from .rows import Arrays, count_rows, map_arrays, take
from .steps import weights_of
from .structures import Seen, Structures


def start_predicting(
    request: PredictRequest,
    structures: Structures,
    programs: Programs,
    seen: Seen,
    may_be_quick: bool,
) -> Callable[[], Arrays]:
    """Set the device to work; what is returned waits for the outputs.

    All batches have ``batch_size`` rows, the last one filled up with copies of the last row: so
    no row's output depends on how many came with it.
    """
    n_rows, size = count_rows(request.x), request.batch_size
    weights = request.weights or weights_of(request.model)
    batches: list[Any] = []
    program: Any = None
    for start in range(0, n_rows, size):
        rows = np.minimum(np.arange(start, start + size), n_rows - 1)
        x = take(request.x, rows)
        if program is None:
            step = structures.of_predict(request, x, seen)
            key = ("predict", step.key)
            effort = effort_for_predicting(step.work) if may_be_quick else Effort.FULL
            program = programs.prepare(key, step, weights, x, effort=effort).result()
        outputs, weights = program(weights, x)
        batches.append(outputs)

    def outputs_of_all_rows() -> Arrays:
        joined = jax.tree.map(lambda *parts: np.concatenate(parts), *batches)
        return map_arrays(lambda array: array[:n_rows], joined)

    return outputs_of_all_rows
