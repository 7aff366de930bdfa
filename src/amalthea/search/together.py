"""What our searches do beyond scikit-learn's: look at the candidates, and train them together."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Self

from ..engine.plan import Log, as_table
from ..engine.trainer import current_trainer
from ..privates import chosen_joblib_backend
from ..rendezvous.lockstep import lockstep
from .candidates import check_candidates, trains_keras


class Together:
    """Stands before one of scikit-learn's searches, whose ``fit`` it surrounds.

    After ``fit``, ``programs_`` is the number of programs that were compiled meanwhile, for
    training, validation and prediction. Programs that the process had before are not among them.
    ``plan_`` is a table of what was trained together: columns of one value for each cohort, which
    ``pandas.DataFrame(search.plan_)`` shows (:class:`amalthea.engine.plan.PlannedCohort`).
    """

    _space: ClassVar[str] = "param_grid"

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """As scikit-learn's; names and values are checked first, and all fits train together.

        Where a Keras estimator is searched and no joblib backend was chosen, the fits run as
        under :func:`amalthea.lockstep`, and ``n_jobs`` bounds nothing.
        """
        estimator, space = self.estimator, getattr(self, self._space)  # type: ignore[attr-defined]
        check_candidates(estimator, self._space, space)
        before, n_rows = _compilations(), _log().n_rows
        with _together(estimator, space):
            super().fit(X, y, **params)  # type: ignore[misc]
        self.programs_ = _compilations() - before
        self.plan_ = as_table(_log().since(n_rows))
        return self


def _together(estimator: Any, space: Any) -> AbstractContextManager[None]:
    if chosen_joblib_backend() is None and trains_keras(estimator, space):
        return lockstep()
    return nullcontext()


def _log() -> Log:
    log: Log = getattr(current_trainer(), "log", None) or Log()
    return log


def _compilations() -> int:
    return getattr(current_trainer(), "compilations", 0)
