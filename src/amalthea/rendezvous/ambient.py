"""What surrounds a call: state of its thread, and state of the process that scopes change.

A task runs on a thread of its own, and must not notice. *Thread-local* state is copied from the
caller when the task is made (:class:`Surroundings`): context variables, NumPy's error handling,
and the settings of scikit-learn, joblib, Keras and JAX. *Process-wide* state changes hands with
the baton (:class:`Scopes`): warning filters, what shows warnings, ``sys.stdout`` and
``sys.stderr``, and the objects in which Keras keeps its thread-local state. A task keeps what its
own open scopes changed, and sees its caller's for the rest.

The global random generators of Python, NumPy and Keras are neither: tasks start in order and draw
in order, from one stream, as they do one after the other. Keras keeps its own by thread, so it
is carried along with the baton.
"""

from __future__ import annotations

import contextvars
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn

from .. import privates


@dataclass(frozen=True)
class Surroundings:
    """The thread-local state of a caller."""

    context: contextvars.Context
    numpy: dict[str, Any]
    numpy_call: Any
    sklearn: dict[str, Any]
    joblib: Any
    keras: tuple[dict[str, Any], ...]
    jax: dict[Any, Any]

    @classmethod
    def here(cls) -> Surroundings:
        return cls(
            contextvars.copy_context(),
            dict(np.geterr()),
            np.geterrcall(),
            sklearn.get_config(),
            privates.joblib_config(),
            privates.keras_thread_state(),
            privates.jax_settings(),
        )

    def settle(self) -> None:
        """Make a new thread's state this one; to be called in ``context``, for older NumPys."""
        np.seterr(**self.numpy)
        np.seterrcall(self.numpy_call)
        sklearn.set_config(**self.sklearn)
        privates.set_joblib_config(self.joblib)
        privates.set_keras_thread_state(self.keras)


_SAME = object()  # a task has nothing of its own there


@dataclass(frozen=True)
class Scopes:
    """The process-wide state that scopes change, or what differs in it from the caller's."""

    values: tuple[Any, ...]

    @classmethod
    def here(cls) -> Scopes:
        return cls(
            (
                warnings.filters,
                *privates.warning_output(),
                sys.stdout,
                sys.stderr,
                *privates.keras_trackers(),
            )
        )

    def install(self) -> None:
        filters, show, impl, stdout, stderr, *trackers = self.values
        privates.set_warning_output((show, impl))
        sys.stdout, sys.stderr = stdout, stderr
        privates.set_keras_trackers(tuple(trackers))
        if filters is not warnings.filters:
            with warnings.catch_warnings():
                pass  # Python forgets which filters it has already asked
            warnings.filters = filters

    def beyond(self, outer: Scopes) -> Scopes:
        """What is different from ``outer``."""
        if all(map(_is, self.values, outer.values)):
            return NOTHING
        pairs = zip(self.values, outer.values, strict=True)
        return Scopes(tuple(_SAME if value is theirs else value for value, theirs in pairs))

    def over(self, outer: Scopes) -> Scopes:
        """What :meth:`beyond` took, put over another state again."""
        if self is NOTHING:
            return outer
        pairs = zip(self.values, outer.values, strict=True)
        return Scopes(tuple(theirs if value is _SAME else value for value, theirs in pairs))

    def same_keras(self, other: Scopes) -> bool:
        return all(map(_is, self.values[-2:], other.values[-2:]))


def _is(one: Any, other: Any) -> bool:
    return one is other


NOTHING = Scopes((_SAME,) * 7)
