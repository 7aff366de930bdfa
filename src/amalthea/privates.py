"""Every private thing of a dependency that Amalthea touches, with the reason and the test.

``keras.src.backend.common.global_state``
    Keras's global random state (the seed that ``keras.utils.set_random_seed`` stored, and the
    generator made from it) can be set but not read through a public name, and a seeded fit must
    leave it as it was. Test: ``test_privates.py``, the random state.
    Its counters of names likewise: without a fresh start the AUC of a second fit would be called
    ``auc_1``, in histories and to callbacks. Test: ``test_privates.py``, the names.
``sklearn.base.BaseEstimator._get_params_html`` and ``ParamsDict.non_default`` (1.7 and newer)
    The HTML representation marks the parameters that differ from the constructor's signature,
    and takes every parameter of a builder for such a one. Test: ``test_parameters.py``, the HTML.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from keras.src.backend.common import global_state

_ATTRIBUTES = ("global_random_seed", "global_seed_generator", "object_name_uids")
AS_AT_START = (None, None, None)


def keras_state() -> tuple[Any, ...]:
    """Keras's global seed, generator and counters of names on this thread."""
    return tuple(global_state.get_global_attribute(name) for name in _ATTRIBUTES)


def set_keras_state(state: tuple[Any, ...]) -> None:
    for name, value in zip(_ATTRIBUTES, state, strict=True):
        global_state.set_global_attribute(name, value)


def mark_as_set(table: Any, names: Collection[str]) -> Any:
    """Let scikit-learn's table of parameters mark those names as set by the user."""
    if hasattr(table, "non_default"):
        table.non_default = tuple(name for name in table.non_default if name in names)
    return table
