"""The benchmark's pure parts: who agrees, how results are scaled, where samples belong."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture
def bench(monkeypatch: Any) -> Iterator[Any]:
    """Imports a file of the benchmark, and forgets all of them afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (BENCH / f"{name}.py").exists():
            del sys.modules[name]


def test_who_runs_fewer_epochs_is_found_out(bench: Any) -> None:
    agreement = bench("agreement")
    agreement.check_work("ours", {"fits": 18, "epochs": 1800}, 18, 1800)
    with pytest.raises(agreement.Disagreement, match="1800 epochs were asked, 18 were run"):
        agreement.check_work("theirs", {"fits": 18, "epochs": 18}, 18, 1800)
    with pytest.raises(agreement.Disagreement, match="18 fits were asked, 6 were run"):
        agreement.check_work("theirs", {"fits": 6, "epochs": 1800}, 18, 1800)


def test_who_reaches_another_score_is_found_out(bench: Any) -> None:
    agreement = bench("agreement")
    agreement.check_scores("ours", [0.90, 0.94], [0.91, 0.95], 0.02)
    with pytest.raises(agreement.Disagreement, match="mean score"):
        agreement.check_scores("theirs", [0.5, 0.5], [0.9, 0.9], 0.05)
    with pytest.raises(agreement.Disagreement):
        agreement.check_scores("theirs", [float("nan")], [0.9], 0.05)


def test_a_part_of_the_work_is_scaled_to_the_whole(bench: Any) -> None:
    tables = bench("tables")
    run = {"fits": 6, "seconds": 2.0, "process": 5.0, "peak_mb": 100.0, "scores": [0.5, 0.7]}
    row = tables.row("w", "s", [{**run, "jax": {}}], whole=18, amalthea=3.0, warm=None)
    assert (row.seconds, row.ratio, row.whole_process) == (6.0, 2.0, 9.0)
    assert row.part == "6 of 18 fits" and row.programs is None
    assert len(tables.cells(row)) == len(tables.HEADERS)


def test_the_candidates_of_a_part_are_spread_evenly(bench: Any) -> None:
    work = bench("workloads").WORKLOADS["pipeline"]
    assert work.some(1.0) == work.candidates and len(work.candidates) == 100
    some = work.some(0.02)
    assert some == [work.candidates[0], work.candidates[-1]]
    assert [work.n_fits, bench("workloads").WORKLOADS["brownlee"].n_fits] == [300, 384]
    assert bench("workloads").WORKLOADS["regression"].n_fits == 180
    assert bench("workloads").WORKLOADS["many"].n_fits == 10_000


def test_everyone_takes_part_in_workloads_that_exist(bench: Any) -> None:
    solvers, workloads = bench("solvers"), bench("workloads").WORKLOADS
    for solver in solvers.EVERYONE:
        assert set(solver.workloads) <= set(workloads), solver.title
        assert (BENCH / "peers" / f"{solver.module.partition(':')[0]}.py").exists()
        pinned = solver.environment == "amalthea" or bench("environments").pinned(
            solver.environment
        )
        assert pinned


def test_samples_belong_to_the_innermost_frame_that_tells(bench: Any) -> None:
    part_of = bench("where_time_goes").part_of
    task = ("amalthea/rendezvous/tasks.py", "_work")
    search = ("sklearn/model_selection/_validation.py", "_fit_and_score")
    build = ("amalthea/estimators/building.py", "_called")
    compiler = ("jax/_src/compiler.py", "backend_compile_and_load")
    assert part_of((task, search)) == "scikit-learn"
    assert part_of((task, search, build, ("keras/src/layers/layer.py", "build"))) == "build"
    assert part_of((task, search, build, compiler)) == "compile"
    assert part_of((("threading.py", "run"),)) == "other"


def test_a_flame_graph_is_as_wide_as_its_samples(bench: Any) -> None:
    from collections import Counter

    outer = ("a.py", "f")
    svg = bench("flame").graph(Counter({(outer,): 3, (outer, ("b.py", "<g>")): 1}), "title")
    assert svg.count("<rect") == 3 and 'width="1200.0"' in svg and 'width="300.0"' in svg
    assert "&lt;g&gt;" in svg
