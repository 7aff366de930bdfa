"""Nobody wins by doing less: epochs, fits and scores must be the same, within noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class Disagreement(Exception):
    """A solver that did other work than was asked, or reached another score."""


def check_work(title: str, result: Mapping[str, Any], fits: int, epochs: int) -> None:
    """A solver must have run all the fits and epochs of its part."""
    for what, asked in (("fits", fits), ("epochs", epochs)):
        if result[what] != asked:
            raise Disagreement(f"{title}: {asked} {what} were asked, {result[what]} were run.")


def check_scores(
    title: str, scores: Sequence[float], reference: Sequence[float], tolerance: float
) -> None:
    """The mean of a solver's scores must be near the reference's, on the same candidates.

    Raises
    ------
    Disagreement
    """
    theirs, ours = float(np.mean(scores)), float(np.mean(reference))
    # Few candidates have a noisier mean: three standard errors of the difference are allowed too.
    spread = np.std(np.subtract(scores, reference)) if len(scores) == len(reference) else 0.0
    allowed = tolerance + 3 * spread / np.sqrt(len(scores))
    if not abs(theirs - ours) <= allowed:
        raise Disagreement(
            f"{title}: a mean score of {theirs:.3f}, where {ours:.3f} was reached by hand "
            f"(more than {allowed:.3f} apart)."
        )
