"""From outcomes to the figures of a table: medians, spreads, ratios. Pure functions."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from agreement import Comparison, best, overall
from parts import Part
from rounds import Runs, compared
from scaling import Rows, durations, fits_of, of_whole

Figures = dict[str, Any]


def figures_of(runs: Runs, ours: Runs) -> Figures:
    """Of one peer on one workload; seconds are those of the whole workload."""
    seconds = [_whole(runs, runs.part, outcome) for outcome in runs.outcomes]
    beside = [outcome["process"] - outcome["seconds"] for outcome in runs.outcomes]
    compiling = [_compiling(runs, outcome) for outcome in runs.outcomes if "jax" in outcome["more"]]
    running = [whole - part for whole, part in zip(seconds, compiling, strict=False)]
    more = runs.outcomes[-1]["more"]
    mean = next(iter(compared(runs, ours)), None)
    return {
        "fits_measured": runs.part.n_fits,
        "seconds": [round(s, 3) for s in seconds],
        "measured": [round(outcome["seconds"], 3) for outcome in runs.outcomes],
        "process": round(statistics.median(seconds) + statistics.median(beside), 2),
        "imports": round(statistics.median(o["imports"] for o in runs.outcomes), 2),
        "compile": round(statistics.median(compiling), 3) if compiling else None,
        "run": round(statistics.median(running), 3) if running else None,
        "warm": runs.warm and round(_whole(runs, runs.warm_up, runs.warm), 3),
        "peak_mb": round(max(o["peak"] for o in runs.outcomes) / 1e6),
        "executables": more.get("jax", {}).get("executables"),
        "programs_": more.get("programs_"),
        "mean_score": _score(runs, np.mean),
        "best_score": _score(runs, best),
        "amaltheas": mean and round(mean.ours, 4),
        "tolerance": mean and round(mean.tolerance, 4),
        "spent": round(runs.spent, 1),
        "more": {k: v for k, v in more.items() if k not in ("jax", "programs_")},
    }


def _whole(runs: Runs, part: Part, outcome: dict[str, Any]) -> float:
    return _scaled(runs, part, outcome, outcome["seconds"], durations(outcome))


def _compiling(runs: Runs, outcome: dict[str, Any]) -> float:
    """Seconds in which JAX traced or compiled, scaled as all seconds are, by the same fits."""
    told = outcome["more"]["jax"]
    return _scaled(runs, runs.part, outcome, told["compile"], told["of_fits"])


def _scaled(
    runs: Runs, part: Part, outcome: dict[str, Any], seconds: float, of_fits: Rows
) -> float:
    fits = fits_of(outcome, of_fits, part, runs.workload)
    return of_whole(seconds, fits, part, runs.workload, runs.peer.n_jobs)


def _score(runs: Runs, of: Any) -> float:
    return round(float(np.mean([of(one) for one in runs.scores()])), 4)


def overall_scores(workloads: dict[str, Any]) -> dict[str, Comparison]:
    """Each peer's mean score beside Amalthea's, over all workloads that it was measured on."""
    pairs: dict[str, list[Comparison]] = {}
    for one in workloads.values():
        for peer, figures in one["peers"].items():
            if figures["tolerance"] is not None:
                scores = figures["amaltheas"], figures["mean_score"]
                pairs.setdefault(peer, []).append(Comparison("mean", *scores, figures["tolerance"]))
    return {peer: overall(several) for peer, several in pairs.items()}


def median(figures: Figures) -> float:
    return statistics.median(figures["seconds"])


def ratio(figures: Figures, ours: Figures) -> float:
    """How many times longer than Amalthea."""
    return median(figures) / median(ours)
