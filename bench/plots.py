"""Pictures of finished numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "bench"  # equal figures give equal files
import matplotlib.pyplot as plt  # noqa: E402  the choice above comes first
import results  # noqa: E402
from peers.registry import PEERS  # noqa: E402
from summaries import ratio  # noqa: E402

_UNITS = {"seconds": "seconds", "peak_mb": "peak memory, MB"}
_MARKERS = "osv^<>DPX*ph"


def draw(found: dict[str, Any]) -> None:
    lines = ratios(found["workloads"])
    if lines:
        _draw_ratios(lines, results.plot(found["mode"], "ratios"))
    if found.get("growth"):
        _draw_growth(found["growth"], results.plot(found["mode"], "growth"))


def ratios(workloads: dict[str, Any]) -> dict[str, dict[str, float]]:
    """For each peer and workload, how many times Amalthea's seconds."""
    lines: dict[str, dict[str, float]] = {}
    for name, one in workloads.items():
        for peer, figures in one["peers"].items():
            if peer != "amalthea":
                lines.setdefault(peer, {})[name] = ratio(figures, one["peers"]["amalthea"])
    return lines


def _draw_ratios(lines: dict[str, dict[str, float]], path: Path) -> None:
    names = list(dict.fromkeys(name for line in lines.values() for name in line))
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.35 * len(names)))
    for marker, (peer, line) in zip(_MARKERS, lines.items(), strict=False):
        places = [names.index(name) for name in line]
        axes.plot(list(line.values()), places, marker, label=PEERS[peer].title, alpha=0.8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xscale="log", xlabel="times Amalthea's seconds; left of the line is faster")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def _draw_growth(growth: dict[str, Any], path: Path) -> None:
    figure, grid = plt.subplots(2, len(growth), figsize=(9, 6), layout="constrained")
    for column, (axis, points) in enumerate(growth.items()):
        for row, value in enumerate(_UNITS):
            _draw_curves(grid[row][column], points, value, f"number of {axis}")
    _save(figure, path)


def _draw_curves(axes: Any, points: list[dict[str, Any]], value: str, label: str) -> None:
    for peer in dict.fromkeys(point["peer"] for point in points):
        own = [p for p in points if p["peer"] == peer and p[value] is not None]
        axes.plot([p["x"] for p in own], [p[value] for p in own], "o-", label=PEERS[peer].title)
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel=_UNITS[value])
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
