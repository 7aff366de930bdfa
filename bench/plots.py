"""Pictures of finished numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "amalthea"
from matplotlib import pyplot as plt  # noqa: E402
from tables import Row  # noqa: E402


def ratios(rows: Sequence[Row], path: Path) -> None:
    """How many times longer than Amalthea each solver takes, by workload."""
    names = list(dict.fromkeys(row.workload for row in rows))
    solvers = list(dict.fromkeys(row.solver for row in rows))
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.9 * len(names)), layout="constrained")
    height = 0.8 / len(solvers)
    for number, solver in enumerate(solvers):
        own = [row for row in rows if row.solver == solver]
        places = [names.index(row.workload) + number * height for row in own]
        axes.barh(places, [row.ratio for row in own], height=height, label=solver)
    axes.set_yticks([place + 0.4 for place in range(len(names))], names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("seconds of the whole search, as multiples of Amalthea's")
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    _save(figure, path)


def curves(points: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Seconds and memory against fits, and against rows."""
    figure, axes = plt.subplots(2, len(points), figsize=(9, 6), layout="constrained", squeeze=False)
    for column, (axis, of_axis) in enumerate(points.items()):
        for line, (name, label) in enumerate((("seconds", "seconds"), ("peak_mb", "peak MB"))):
            place = axes[line][column]
            place.plot([p["size"] for p in of_axis], [p[name] for p in of_axis], "o-")
            place.set_xscale("log")
            place.set_yscale("log" if name == "seconds" else "linear")
            place.set_ylim(bottom=None if name == "seconds" else 0)
            place.set_xlabel(axis)
            place.set_ylabel(label)
            place.grid(alpha=0.3)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
