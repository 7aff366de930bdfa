"""Where results go: JSON, a table, a plot, and the page of the documentation."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import environments
from solvers import Solver
from tables import HEADERS, Row, cells, markdown

FOLDER = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"


def write(
    rows: Sequence[Row],
    command: str,
    n_runs: int,
    solvers: Sequence[Solver],
    curves: dict[str, list[dict[str, Any]]] | None,
) -> None:
    """Write what there is so far; a full run also goes into the documentation."""
    import plots  # needs matplotlib, which reading this file does not

    FOLDER.mkdir(exist_ok=True)
    about = _about(command, n_runs, solvers)
    everything = {"about": about, "rows": [asdict(row) for row in rows], "curves": curves}
    name = "full" if command == "make bench" else "last"
    text = _text(rows, about, curves)
    (FOLDER / f"{name}.json").write_text(json.dumps(everything, indent=1) + "\n")
    (FOLDER / f"{name}.md").write_text(text)
    plots.ratios(rows, FOLDER / f"{name}.svg")
    if curves:
        plots.curves(curves, FOLDER / f"{name}-scaling.svg")
    if name == "full":
        put_into_page(text)


def put_into_page(text: str, page: Path = PAGE) -> None:
    """Replace what stands between the two marks of the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])


def _text(
    rows: Sequence[Row], about: dict[str, Any], curves: dict[str, list[dict[str, Any]]] | None
) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    head = (
        f"`{about['command']}`, {about['date']}, {about['machine']}; {about['runs']} runs of each, "
        f"medians. {versions}.\n\n"
    )
    tables = [head + markdown(HEADERS, [cells(row) for row in rows])]
    for axis, points in (curves or {}).items():
        named = ("size", "seconds", "peak_mb")
        lines = [tuple(f"{point[name]:.10g}" for name in named) for point in points]
        tables.append(markdown((axis, "fit, s", "peak MB"), lines))
    return "\n".join(tables)


def _about(command: str, n_runs: int, solvers: Sequence[Solver]) -> dict[str, Any]:
    names = {
        "with_scikeras": "scikeras",
        "with_keras_tuner": "keras-tuner",
        "with_optuna": "optuna",
    }
    names |= {"with_skorch": "skorch"}
    own = {name: version(name) for name in ("amalthea", "keras", "jax", "scikit-learn", "numpy")}
    peers = {
        names[solver.module]: environments.pinned(solver.environment)[names[solver.module]]
        for solver in solvers
        if solver.module in names
    }
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {cores} cores, Python {platform.python_version()}",
        "runs": n_runs,
        "versions": own | peers,
    }
