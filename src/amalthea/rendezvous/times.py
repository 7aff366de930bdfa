"""``fit_time`` and ``score_time`` without the time that a task only waited for the others.

scikit-learn measures both by the clock inside the task, and puts them into the dict that it
returns. Every wait is taken out again, and the task's fair share of what was done meanwhile is
put in: its part of the cohort's training, its part of the prediction, the cost of nested tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Wait = tuple[float, float, float]  # from when, until when, the fair share; in seconds


def correct(results: Any, began: float, waits: Sequence[Wait]) -> None:
    """Correct the times in those results of one task that have them.

    A wait belongs to the phase in which its middle lies: to fitting, to scoring, or to what comes
    after, which nobody measures.
    """
    if not waits or not isinstance(results, list):
        return
    start = began
    for result in results:
        if _has_times(result):
            fitted = start + result["fit_time"]
            scored = fitted + result["score_time"]
            result["fit_time"] = _corrected(result["fit_time"], waits, start, fitted)
            result["score_time"] = _corrected(result["score_time"], waits, fitted, scored)
            start = scored


def _has_times(result: Any) -> bool:
    names = ("fit_time", "score_time")
    return isinstance(result, dict) and all(isinstance(result.get(n), float) for n in names)


def _corrected(seconds: float, waits: Sequence[Wait], start: float, end: float) -> float:
    inside = [wait for wait in waits if start <= (wait[0] + wait[1]) / 2 < end]
    waited = sum(until - since for since, until, _ in inside)
    return max(0.0, seconds - waited + sum(share for _, _, share in inside))
