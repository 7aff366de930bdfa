"""scikit-learn's searches under Amalthea's name: same signature, same results.

Beyond scikit-learn's own they check, before the first fit, what would make every fit fail.
"""

from __future__ import annotations

from typing import Any, Self

from sklearn import model_selection
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  makes them importable

from .candidates import check_candidates


class GridSearchCV(model_selection.GridSearchCV):
    __doc__ = model_selection.GridSearchCV.__doc__

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """As ``sklearn.model_selection.GridSearchCV.fit``; the grid is checked first."""
        check_candidates(self.estimator, "param_grid", self.param_grid)
        return super().fit(X, y, **params)


class RandomizedSearchCV(model_selection.RandomizedSearchCV):
    __doc__ = model_selection.RandomizedSearchCV.__doc__

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """As ``sklearn.model_selection.RandomizedSearchCV.fit``; the names are checked first."""
        check_candidates(self.estimator, "param_distributions", self.param_distributions)
        return super().fit(X, y, **params)


class HalvingGridSearchCV(model_selection.HalvingGridSearchCV):
    __doc__ = model_selection.HalvingGridSearchCV.__doc__

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """As ``sklearn.model_selection.HalvingGridSearchCV.fit``; the grid is checked first."""
        check_candidates(self.estimator, "param_grid", self.param_grid)
        return super().fit(X, y, **params)


class HalvingRandomSearchCV(model_selection.HalvingRandomSearchCV):
    __doc__ = model_selection.HalvingRandomSearchCV.__doc__

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """As ``sklearn.model_selection.HalvingRandomSearchCV.fit``; the names are checked first."""
        check_candidates(self.estimator, "param_distributions", self.param_distributions)
        return super().fit(X, y, **params)
