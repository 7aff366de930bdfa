"""Hyperparameter tuning of Keras models behind scikit-learn's API.

Public names are loaded when they are first used: ``import amalthea`` itself imports neither
Keras nor JAX nor scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import backend as _backend

if TYPE_CHECKING:
    from . import errors as errors
    from .estimators.classifier import KerasClassifier as KerasClassifier
    from .estimators.loading import load as load
    from .estimators.regressor import KerasRegressor as KerasRegressor
    from .inputs import Inputs as Inputs
    from .randomness import batch_order as batch_order
    from .rendezvous.lockstep import lockstep as lockstep
    from .search.searches import GridSearchCV as GridSearchCV
    from .search.searches import HalvingGridSearchCV as HalvingGridSearchCV
    from .search.searches import HalvingRandomSearchCV as HalvingRandomSearchCV
    from .search.searches import RandomizedSearchCV as RandomizedSearchCV

__version__ = "0.1.0"

_HOMES = {
    "KerasClassifier": "estimators.classifier",
    "KerasRegressor": "estimators.regressor",
    "load": "estimators.loading",
    "Inputs": "inputs",
    "batch_order": "randomness",
    "lockstep": "rendezvous.lockstep",
    "GridSearchCV": "search.searches",
    "RandomizedSearchCV": "search.searches",
    "HalvingGridSearchCV": "search.searches",
    "HalvingRandomSearchCV": "search.searches",
}

__all__ = [*_HOMES, "errors", "__version__"]

_backend.choose()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        if _HOMES[name].startswith(("estimators", "search")):
            importlib.import_module(".rendezvous", __name__)  # joblib shall know "lockstep"
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    elif name == "errors":
        value = importlib.import_module(".errors", __name__)
    else:
        raise AttributeError(f"module 'amalthea' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
