"""Whether a whole workload is told rightly from a part of its fits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"
if str(BENCH) not in sys.path:
    sys.path.append(str(BENCH))

import parts  # noqa: E402
import scaling  # noqa: E402
from networks import shape_of  # noqa: E402
from peers.grid_search import spans  # noqa: E402
from workloads import WORKLOADS, Workload  # noqa: E402

PROCESS, SHAPE, LATER = 5.0, 2.0, 1.5  # seconds: once, once for each shape, and each time


def _ran(
    work: Workload, part: parts.Part, cost: Callable[[Workload, Any], float]
) -> dict[str, Any]:
    """What a library leaves behind that does something once, and something once for each shape."""
    now, met, rows = 100.0, set[Any](), []
    for candidate in part.candidates_of(work):
        rows.append([])
        for _ in range(part.n_folds):
            shape = shape_of(work, candidate)
            took = PROCESS * (not met) + SHAPE * (shape not in met) + cost(work, candidate)
            met.add(shape)
            rows[-1].append((now, now + took))
            now += took
    return {"spans": rows, "processes": [], "seconds": now - 100.0}


def _constant(work: Workload, candidate: Any) -> float:
    return LATER


def _by_steps(work: Workload, candidate: Any) -> float:
    return LATER + 0.5 * work.steps_of(candidate)


def _told(work: Workload, part: parts.Part, outcome: dict[str, Any], n_jobs: int = 1) -> float:
    fits = scaling.fits_of(outcome, scaling.durations(outcome), part, work)
    return scaling.of_whole(outcome["seconds"], fits, part, work, n_jobs)


@pytest.mark.parametrize("name", ["tutorial", "pipeline", "regression", "brownlee-init", "table"])
def test_a_part_tells_what_a_whole_run_takes(name: str) -> None:
    work = WORKLOADS[name]
    part = parts.smallest(work, range(len(work.candidates)))
    whole = _ran(work, parts.whole(work), _constant)["seconds"]
    assert _told(work, part, _ran(work, part, _constant)) == pytest.approx(whole)


def test_a_part_of_unequal_fits_tells_what_a_whole_run_takes() -> None:
    work = WORKLOADS["brownlee-batches"]
    part = parts.smallest(work, range(18))
    whole = _ran(work, parts.whole(work), _by_steps)["seconds"]
    assert _told(work, part, _ran(work, part, _by_steps)) == pytest.approx(whole)


def test_a_whole_is_not_scaled() -> None:
    work = WORKLOADS["tutorial"]
    outcome = _ran(work, parts.whole(work), _constant)
    assert _told(work, parts.whole(work), outcome) == outcome["seconds"]


def test_the_first_fit_is_told_by_its_time_and_not_by_its_place() -> None:
    work, part = WORKLOADS["tutorial"], parts.Part((1, 4), 2)
    rows = [[(9.0, 10.0), (8.0, 9.0)], [(7.0, 8.0), (0.0, 7.0)]]
    outcome = {"spans": rows, "processes": [], "seconds": 10.0}
    fits = scaling.fits_of(outcome, scaling.durations(outcome), part, work)
    assert [(fit.seconds, fit.is_first) for fit in fits][:2] == [(7.0, True), (1.0, False)]


def test_two_processes_share_the_rest_and_are_charged_no_shapes() -> None:
    """All count alike but the first of each, whether a process has met their shape or not."""
    work, part = WORKLOADS["tutorial"], parts.Part((0, 4), 2)
    rows = [[(0.0, 6.0), (0.0, 7.0)], [(6.0, 9.0), (7.0, 9.0)]]
    outcome = {"spans": rows, "processes": [[1, 2], [1, 2]], "seconds": 9.0}
    assert _told(work, part, outcome, n_jobs=2) == 9.0 + 14 * 2.5 / 2


def test_noise_makes_no_fit_cheaper_for_its_steps() -> None:
    line = scaling._line([1.0, 10.0], [3.0, 2.0])
    assert line(1.0) == line(10.0) == 2.5
    assert scaling._line([1.0, 10.0], [1.0, 21.0])(0.0) == 0.0


def test_a_fit_begins_when_the_one_before_it_in_its_process_has_ended() -> None:
    ended, processes = [[3.0, 2.0], [5.0, 7.0]], [[1, 2], [1, 2]]
    assert spans(ended, processes, 1.0) == [[(1.0, 3.0), (1.0, 2.0)], [(3.0, 5.0), (2.0, 7.0)]]
