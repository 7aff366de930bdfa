"""scikit-learn's searches under Amalthea's name: same signature, same results.

Beyond scikit-learn's own they check, before the first fit, what would make every fit fail; their
fits train together; and ``programs_`` counts the programs that were compiled for them.
"""

from __future__ import annotations

from sklearn import model_selection
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  makes them importable

from .together import Together


class GridSearchCV(Together, model_selection.GridSearchCV):
    __doc__ = model_selection.GridSearchCV.__doc__


class RandomizedSearchCV(Together, model_selection.RandomizedSearchCV):
    __doc__ = model_selection.RandomizedSearchCV.__doc__
    _space = "param_distributions"


class HalvingGridSearchCV(Together, model_selection.HalvingGridSearchCV):
    __doc__ = model_selection.HalvingGridSearchCV.__doc__


class HalvingRandomSearchCV(Together, model_selection.HalvingRandomSearchCV):
    __doc__ = model_selection.HalvingRandomSearchCV.__doc__
    _space = "param_distributions"
