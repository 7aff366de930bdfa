"""What a solver tells of the fits that it was given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Outcome:
    """Seconds from the start of the search to its end, and what was reached.

    ``epochs`` are those that were really run, of all fits together; ``scores`` has the mean over
    the folds for each candidate, in the order of the candidates.
    """

    seconds: float
    fits: int
    epochs: int
    scores: list[float]
