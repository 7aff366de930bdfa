"""A look at the candidates before the first of them is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from ..errors import InvalidParameter
from ..estimators.parameters import BuilderParameters
from ..estimators.settings import read_settings


def check_candidates(estimator: Any, argument: str, space: Any) -> None:
    """Refuse an empty space, and names or values that no Keras estimator in it can take.

    Parameters
    ----------
    estimator : estimator
        What is searched: a Keras estimator, or a pipeline or other estimator around one. Others
        are left to scikit-learn.
    argument : str
        ``param_grid`` or ``param_distributions``, for messages.
    space : dict or list of dict
        Lists of values, or distributions, by name.

    Raises
    ------
    InvalidParameter
    """
    parts = [space] if isinstance(space, Mapping) else space
    if not isinstance(parts, list | tuple) or not all(isinstance(p, Mapping) for p in parts):
        return  # scikit-learn says what is wrong
    if not parts:
        raise InvalidParameter(f"{argument} is empty: expected names with lists of values.")
    if argument == "param_grid" and isinstance(space, Mapping) and not space:
        raise InvalidParameter(
            "param_grid is empty: expected names with lists of values. To judge the estimator as "
            "it is, use sklearn.model_selection.cross_validate."
        )
    for part in parts:
        for name, values in part.items():
            _check_not_empty(argument, name, values)
        for candidate in _one_value_each(part):
            _check_settings(estimator, candidate)


def trains_keras(estimator: Any, space: Any) -> bool:
    """Whether a Keras estimator is in what is searched, or among the values of its space."""
    parts = [space] if isinstance(space, Mapping) else space
    lists = [values for part in parts for values in part.values()]
    values = [value for some in lists if isinstance(some, list | tuple) for value in some]
    return any(_keras_estimators(value) for value in (estimator, *values))


def _check_not_empty(argument: str, name: str, values: Any) -> None:
    if isinstance(values, list | tuple | np.ndarray) and not len(values):
        raise InvalidParameter(f"{argument}[{name!r}] is empty: expected at least one value.")


def _one_value_each(part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The first candidate, and for each name every other value beside the first of the rest.

    A distribution stands for itself with one value drawn from it.
    """
    lists = {name: _values(values) for name, values in part.items()}
    first = {name: values[0] for name, values in lists.items() if values}
    yield first
    for name, values in lists.items():
        for value in values[1:]:
            yield {**first, name: value}


def _values(values: Any) -> list[Any]:
    if hasattr(values, "rvs"):
        return [values.rvs(random_state=np.random.RandomState(0))]
    return list(values) if isinstance(values, list | tuple | np.ndarray) else []


def _check_settings(estimator: Any, candidate: Mapping[str, Any]) -> None:
    """Read the settings of every Keras estimator in what the candidate makes of the estimator."""
    try:
        changed = clone(estimator).set_params(**clone(dict(candidate), safe=False))
    except (TypeError, ValueError):
        return  # scikit-learn says what is wrong
    for keras_estimator in _keras_estimators(changed):
        read_settings(keras_estimator, {})


def _keras_estimators(estimator: Any) -> list[BuilderParameters]:
    known = hasattr(estimator, "get_params") and not isinstance(estimator, type)
    inside = estimator.get_params(deep=True).values() if known else ()
    return [e for e in (estimator, *inside) if isinstance(e, BuilderParameters)]
