"""What a solver tells of the fits that it was given."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Span = tuple[float, float]  # from and to, by ``time.perf_counter``


@dataclass
class Outcome:
    """What was done and reached, and how long it took.

    Parameters
    ----------
    started, seconds : float
        When the search began, by ``time.perf_counter``, and how long it took.
    spans : list of list of (float, float)
        When each fit began and ended: a row for each candidate that was measured, with a pair for
        each fold.
    epochs, scores : list of list
        Rows alike. The epochs are those that were really run.
    steps : list of list of (int or None)
        Rows alike: the steps that the optimizer took, where the peer can tell.
    processes : list of list of int
        Rows alike: in which process a fit ran; empty where there was one alone.
    more : dict
    """

    started: float
    seconds: float
    spans: list[list[Span]]
    epochs: list[list[int]]
    steps: list[list[int | None]]
    scores: list[list[float]]
    processes: list[list[int]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What a fitted model tells of its fit, and what it reached."""

    epochs: int
    steps: int | None
    score: float


def second_of_two(fit: Callable[[], Any], tell: Callable[[Any], Told]) -> Outcome:
    """Of a fit that is done twice, the second; ``tell`` reads what ``fit`` made, unmeasured."""
    fit()
    started = time.perf_counter()
    fitted = fit()
    ended = time.perf_counter()
    told = tell(fitted)
    one = [(started, ended)]
    return Outcome(started, ended - started, [one], [[told.epochs]], [[told.steps]], [[told.score]])
