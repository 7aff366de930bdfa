"""Results as tables: rows of numbers first, then text."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One solver on one workload: medians of its runs, scaled to the whole work."""

    workload: str
    solver: str
    seconds: float
    least: float
    most: float
    ratio: float
    whole_process: float
    warm: float | None
    compiling: float | None
    programs: int | None
    peak_mb: float
    best: float
    mean: float
    part: str


HEADERS = (
    *("workload", "solver", "fit, s", "min to max", "× Amalthea", "process, s", "warm, s"),
    *("compiling, s", "programs", "peak MB", "best", "mean", "measured"),
)


def row(
    workload: str,
    solver: str,
    runs: Sequence[dict[str, Any]],
    whole: int,
    amalthea: float | None,
    warm: float | None,
) -> Row:
    """A row from the runs of one solver; ``whole`` counts the fits of the workload."""
    scale = [whole / run["fits"] for run in runs]
    seconds = [run["seconds"] * factor for run, factor in zip(runs, scale, strict=True)]
    outside = [run["process"] - run["seconds"] for run in runs]
    median, jax = statistics.median(seconds), [run["jax"] for run in runs if run["jax"]]
    times = [sum(one[name] for name in ("trace", "lower", "compile")) for one in jax]
    done = runs[0]["fits"]
    return Row(
        workload,
        solver,
        median,
        min(seconds),
        max(seconds),
        median / amalthea if amalthea else 1.0,
        median + statistics.median(outside),
        warm,
        statistics.median(times) * scale[0] if times else None,
        round(jax[0]["programs"] * scale[0]) if jax else None,
        max(run["peak_mb"] for run in runs),
        max(runs[0]["scores"]),
        statistics.mean(runs[0]["scores"]),
        "all" if done == whole else f"{done} of {whole} fits",
    )


def cells(row: Row) -> tuple[str, ...]:
    return (
        row.workload,
        row.solver,
        f"{row.seconds:.2f}",
        f"{row.least:.2f} to {row.most:.2f}",
        f"{row.ratio:.1f}",
        f"{row.whole_process:.1f}",
        "" if row.warm is None else f"{row.warm:.2f}",
        "" if row.compiling is None else f"{row.compiling:.2f}",
        "" if row.programs is None else str(row.programs),
        f"{row.peak_mb:.0f}",
        f"{row.best:.3f}",
        f"{row.mean:.3f}",
        row.part,
    )


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
