"""What was trained together, how, and what it was expected and found to cost: a row a cohort."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

ROWS_KEPT = 100_000


@dataclass(frozen=True)
class PlannedCohort:
    """A cohort, as it was planned and as it went.

    ``fits`` are those that it gave a result, ``lanes`` those that its program has room for, and
    ``structures`` the models in it that are different programs by themselves. ``programs`` were
    compiled for it: 0 where one was there. Seconds and bytes are predicted by the cost model, and
    measured: bytes are what the compiled program says of its arguments, results and temporaries,
    and 0 where epochs are not trained several at a time. Of what Keras's own ``fit`` trains nothing
    is predicted.
    """

    fits: int
    form: str
    lanes: int
    structures: int
    effort: str
    programs: int
    predicted_seconds: float
    seconds: float
    predicted_bytes: float
    bytes: float


def by_keras(seconds: float) -> PlannedCohort:
    """A fit of Keras's own."""
    unknown = math.nan
    return PlannedCohort(1, "keras", 1, 1, "full", 0, unknown, seconds, unknown, 0.0)


class Log:
    """The cohorts of this process; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._rows: deque[PlannedCohort] = deque(maxlen=ROWS_KEPT)
        self.n_rows = 0

    def add(self, row: PlannedCohort) -> None:
        self._rows.append(row)
        self.n_rows += 1

    def since(self, n_rows: int) -> list[PlannedCohort]:
        """Those after the first so many."""
        new = self.n_rows - n_rows
        return list(self._rows)[-new:] if new > 0 else []


def as_table(rows: Iterable[PlannedCohort]) -> dict[str, list[Any]]:
    """Columns by name, as scikit-learn's ``cv_results_`` has them."""
    table: dict[str, list[Any]] = {field.name: [] for field in fields(PlannedCohort)}
    for row in rows:
        for name, value in asdict(row).items():
            table[name].append(value)
    return table
