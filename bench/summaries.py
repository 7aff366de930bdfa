"""From outcomes to the figures of a table: medians, spreads, ratios. Pure functions."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from agreement import Comparison, best, overall
from parts import Part, seconds_of_whole
from rounds import Runs, compared, first_of

Figures = dict[str, Any]


def figures_of(runs: Runs, ours: Runs) -> Figures:
    """Of one peer on one workload; seconds are those of the whole workload."""
    seconds = [_whole(runs, runs.part, outcome) for outcome in runs.outcomes]
    beside = [outcome["process"] - outcome["seconds"] for outcome in runs.outcomes]
    compiling = _compiling(runs, seconds)
    more = runs.outcomes[-1]["more"]
    mean = next(iter(compared(runs, ours)), None)
    return {
        "fits_measured": 1 if runs.workload.twice else runs.part.n_fits,
        "seconds": [round(s, 3) for s in seconds],
        "measured": [round(outcome["seconds"], 3) for outcome in runs.outcomes],
        "process": round(statistics.median(seconds) + statistics.median(beside), 2),
        "imports": round(statistics.median(o["imports"] for o in runs.outcomes), 2),
        "compile": compiling and round(compiling, 3),
        "run": compiling and round(statistics.median(seconds) - compiling, 3),
        "warm": runs.warm and round(_whole(runs, runs.first, runs.warm), 3),
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
    if runs.workload.twice:
        return float(outcome["seconds"])
    each, n_jobs = outcome["of_candidates"], runs.peer.n_jobs
    first = first_of(outcome, n_jobs)
    return seconds_of_whole(outcome["seconds"], each, first, part, runs.workload, n_jobs)


def _compiling(runs: Runs, seconds: list[float]) -> float | None:
    """Seconds in which JAX traced or compiled, at the share that they have in what was measured."""
    told = [outcome for outcome in runs.outcomes if "jax" in outcome["more"]]
    shares = [outcome["more"]["jax"]["compile"] / outcome["seconds"] for outcome in told]
    return statistics.median(shares) * statistics.median(seconds) if shares else None


def _score(runs: Runs, of: Any) -> float | None:
    scores = [scores for scores in runs.scores() if scores]
    return round(float(np.mean([of(one) for one in scores])), 4) if scores else None


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
