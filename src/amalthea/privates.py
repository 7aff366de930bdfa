"""Every private thing of a dependency that Amalthea touches, with the reason and the test.

``keras.src.backend.common.global_state``
    Keras's global random state (the seed that ``keras.utils.set_random_seed`` stored, and the
    generator made from it) can be set but not read through a public name, and a seeded fit must
    leave it as it was. Test: ``test_privates.py``, the random state.
    Its counters of names likewise: without a fresh start the AUC of a second fit would be called
    ``auc_1``, in histories and to callbacks. Test: ``test_privates.py``, the names.
``keras.src.backend.common.masking.get_keras_mask``
    A mask goes from layer to layer, and to a loss or a metric, beside the array that it belongs
    to: what is traced for arrays alone must not be used where there is one. Test:
    ``test_privates.py``, the mask.
``sklearn.base.BaseEstimator._get_params_html`` and ``ParamsDict.non_default`` (1.7 and newer)
    The HTML representation marks the parameters that differ from the constructor's signature,
    and takes every parameter of a builder for such a one. Test: ``test_parameters.py``, the HTML.

What the tasks of a lockstep need, which share a thread (``rendezvous/``):

``keras.src.backend.common.global_state``, once more
    Its two trackers are thread-local: without a copy for each task, a dtype policy or a scope of
    one that waits would be another one's too. ``keras.utils.clear_session`` replaces them for
    every thread, so a builder that calls it would take them from the others. Test:
    ``test_lockstep.py``, Keras.
``jax._src.config``
    The values that context managers such as ``jax.default_matmul_precision`` set are
    thread-local, and no public name lists them. Test: ``test_lockstep.py``, JAX.
``asyncio._get_running_loop`` and ``_set_running_loop``
    The running event loop is thread-local. A task that waits inside of one must not leave it
    running in the others. Test: ``test_lockstep.py``, the event loop.
``warnings._showwarnmsg_impl``
    ``warnings.catch_warnings(record=True)`` replaces it for the whole process, so it must change
    hands with the filters. Test: ``test_lockstep.py``, the warnings.
``joblib.parallel._backend`` and ``default_parallel_config``
    What ``joblib.parallel_config`` sets is thread-local, and can be read but not copied through a
    public name. Test: ``test_lockstep.py``, joblib.
``joblib._parallel_backends.FallbackToBackend``
    The one way in which a backend can hand each ``Parallel`` a backend of its own; joblib's Dask
    backend needs it too. Test: ``test_lockstep.py``, every test.
``sklearn.model_selection._validation._fit_and_score``
    Its result, a dict, holds ``fit_time`` and ``score_time``, which ``rendezvous/times.py``
    corrects by the time that the task only waited. Test: ``test_under_lockstep.py``, the times.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import joblib
from joblib._parallel_backends import FallbackToBackend as FallbackToBackend
from keras.src.backend.common import global_state
from keras.src.backend.common.masking import get_keras_mask

_ATTRIBUTES = ("global_random_seed", "global_seed_generator", "object_name_uids")
AS_AT_START = (None, None, None)


def keras_state() -> tuple[Any, ...]:
    """Keras's global seed, generator and counters of names on this thread."""
    return tuple(global_state.get_global_attribute(name) for name in _ATTRIBUTES)


def set_keras_state(state: tuple[Any, ...]) -> None:
    for name, value in zip(_ATTRIBUTES, state, strict=True):
        global_state.set_global_attribute(name, value)


def keras_mask(array: Any) -> Any:
    """The mask that goes with an array, or None."""
    return get_keras_mask(array)


def mark_as_set(table: Any, names: Collection[str]) -> Any:
    """Let scikit-learn's table of parameters mark those names as set by the user."""
    if hasattr(table, "non_default"):
        table.non_default = tuple(name for name in table.non_default if name in names)
    return table


_TRACKERS = ("GLOBAL_STATE_TRACKER", "GLOBAL_SETTINGS_TRACKER")


def keras_trackers() -> tuple[Any, ...]:
    """Keras's thread-local stores, which ``keras.utils.clear_session`` replaces."""
    return tuple(getattr(global_state, name) for name in _TRACKERS)


def set_keras_trackers(trackers: tuple[Any, ...]) -> None:
    for name, tracker in zip(_TRACKERS, trackers, strict=True):
        setattr(global_state, name, tracker)


def keras_thread_state() -> tuple[dict[str, Any], ...]:
    """What Keras keeps for this thread."""
    return tuple(dict(vars(tracker)) for tracker in keras_trackers())


def set_keras_thread_state(state: tuple[dict[str, Any], ...]) -> None:
    for tracker, values in zip(keras_trackers(), state, strict=True):
        own = vars(tracker)
        own.clear()
        own.update(values)


def copies(state: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """That state with stacks of its own."""
    return tuple({name: _copied(value) for name, value in one.items()} for one in state)


def _copied(value: Any) -> Any:
    return value.copy() if type(value) in (list, dict, set) else value


_JAX_CONTEXTS = (
    "mesh_context_manager",
    "abstract_mesh_context_manager",
    "device_context",
    "compute_on_context_manager",
    "xla_metadata_context_manager",
)


def _jax_states() -> tuple[Any, list[Any], list[Any]]:
    config = sys.modules["jax._src.config"]
    states, getters = _jax_states_of(config, len(config.config._value_holders))
    return config.config_ext.unset, states, getters


@functools.lru_cache(maxsize=1)
def _jax_states_of(config: Any, n_holders: int) -> tuple[list[Any], list[Any]]:
    contexts = [getattr(config, name) for name in _JAX_CONTEXTS if hasattr(config, name)]
    holders = config.config._value_holders.values()
    states = [holder for holder in holders if hasattr(holder, "set_local")] + contexts
    return states, [state.get_local for state in states]


def jax_settings() -> dict[Any, Any]:
    """What context managers of JAX have set on this thread, by JAX's own objects."""
    if "jax" not in sys.modules:
        return {}
    unset, states, getters = _jax_states()
    values = [get() for get in getters]
    if values.count(unset) == len(values):
        return {}
    pairs = zip(states, values, strict=True)
    return {state: value for state, value in pairs if value is not unset}


@contextmanager
def jax_settings_as(settings: dict[Any, Any]) -> Iterator[None]:
    """Give this thread exactly these settings inside the block."""
    before = jax_settings()
    try:
        change_jax_settings(before, settings)
        yield
    finally:
        change_jax_settings(settings, before)


def change_jax_settings(before: dict[Any, Any], after: dict[Any, Any]) -> None:
    """Make the settings of this thread, which are those ``before``, those ``after``."""
    if before == after:
        return
    unset, _, _ = _jax_states()
    for state in before.keys() | after.keys():
        value = after.get(state, unset)
        state.set_local(value)
        hook = getattr(state, "_update_thread_local_hook", None)
        if hook:
            hook(None if value is unset else value)


def running_event_loop() -> Any:
    """The event loop of asyncio that runs on this thread, or None."""
    asyncio = sys.modules.get("asyncio")
    return asyncio._get_running_loop() if asyncio else None


def set_running_event_loop(loop: Any) -> None:
    sys.modules["asyncio"]._set_running_loop(loop)


def warning_output() -> tuple[Any, Any]:
    """What shows or records a warning."""
    return warnings.showwarning, warnings._showwarnmsg_impl  # type: ignore[attr-defined]


def set_warning_output(output: tuple[Any, Any]) -> None:
    warnings.showwarning, warnings._showwarnmsg_impl = output  # type: ignore[attr-defined]


def joblib_config() -> Any:
    """What ``joblib.parallel_config`` has set on this thread."""
    return getattr(joblib.parallel._backend, "config", joblib.parallel.default_parallel_config)


def set_joblib_config(config: Any) -> None:
    joblib.parallel._backend.config = config


def chosen_joblib_backend() -> Any:
    """The backend that ``joblib.parallel_config`` chose on this thread, or None."""
    backend = joblib_config()["backend"]
    default = joblib.parallel.default_parallel_config["backend"]
    return None if backend is default else backend
