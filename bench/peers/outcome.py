"""What a solver tells of the fits that it was given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Outcome:
    """What was done and reached, and how long it took.

    Parameters
    ----------
    started, seconds : float
        When the search began, by ``time.perf_counter``, and how long it took.
    of_candidates : list of float
        The seconds that each candidate was worked on.
    epochs, scores : list of list
        A row for each candidate that was measured, with a number for each fold. The epochs are
        those that were really run.
    order : list of int
        The candidates' places in the order in which they began, where it is not their own.
    more : dict
    """

    started: float
    seconds: float
    of_candidates: list[float]
    epochs: list[list[int]]
    scores: list[list[float]]
    order: list[int] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


def second_of_two(fit: Callable[[], int]) -> Outcome:
    """Of a fit that is done twice, the second; ``fit`` returns the epochs that it ran."""
    fit()
    started = time.perf_counter()
    epochs = fit()
    seconds = time.perf_counter() - started
    return Outcome(started, seconds, [seconds], [[epochs]], [])
