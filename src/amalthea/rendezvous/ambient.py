"""What surrounds a call: state of its thread, and state of the process that scopes change.

Tasks share the thread of their caller, and must not notice. *Thread-local* state, which each has
for itself as it was when it was made, changes hands with the baton (:class:`Surroundings`): NumPy's
error handling, the settings of scikit-learn, joblib, Keras and JAX, and the event loop that runs.
Context variables do so by themselves. So does *process-wide* state (:class:`Scopes`): warning
filters, what shows warnings, ``sys.stdout`` and ``sys.stderr``, and the objects in which Keras
keeps its thread-local state. Of these a task keeps what its own open scopes changed, and sees its
caller's for the rest.

The global random generators of Python, NumPy and Keras are neither: tasks start in order and draw
in order, from one stream, as they do one after the other. Keras keeps its own beside its settings,
so it is carried along with the baton.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import sklearn

from .. import privates


class Surroundings(NamedTuple):
    """The thread-local state of a caller, or of a task."""

    numpy: tuple[dict[str, Any], Any]
    sklearn: dict[str, Any]
    joblib: Any
    jax: dict[Any, Any]
    event_loop: Any
    keras: tuple[dict[str, Any], ...]

    @classmethod
    def here(cls) -> Surroundings:
        return cls(
            (dict(np.geterr()), np.geterrcall()),
            sklearn.get_config(),
            privates.joblib_config(),
            privates.jax_settings(),
            privates.running_event_loop(),
            privates.keras_thread_state(),
        )

    @classmethod
    def copied(cls) -> Surroundings:
        """Those of here for somebody else, who may change them in place."""
        here = cls.here()
        return here._replace(keras=privates.copies(here.keras))

    def install(self, over: Surroundings, with_keras: bool = True) -> None:
        """Make the state of this thread, which is ``over``, this one."""
        if self.numpy != over.numpy:
            errors, call = self.numpy
            np.seterr(**errors)
            np.seterrcall(call)
        if self.sklearn != over.sklearn:
            sklearn.set_config(**self.sklearn)
        if self.joblib is not over.joblib:
            privates.set_joblib_config(self.joblib)
        privates.change_jax_settings(over.jax, self.jax)
        if self.event_loop is not over.event_loop:
            privates.set_running_event_loop(self.event_loop)
        if with_keras:
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


def _is(one: Any, other: Any) -> bool:
    return one is other


NOTHING = Scopes((_SAME,) * 7)


class Lent(NamedTuple):
    """What somebody had here, who has lent the place to a task."""

    scopes: Scopes
    surroundings: Surroundings

    @classmethod
    def here(cls) -> Lent:
        return cls(Scopes.here(), Surroundings.here())

    def to(self, scopes: Scopes, surroundings: Surroundings) -> None:
        """Let somebody else have those instead."""
        random_state = privates.keras_state()
        if scopes is not self.scopes:
            scopes.install()
        same = self._has_same_keras()
        surroundings.install(self.surroundings, with_keras=same)
        if same:
            privates.set_keras_state(random_state)

    def take_back(self) -> Lent:
        """Restore it all; returns what the other one had last."""
        now = Lent.here()
        random_state = privates.keras_state() if self._has_same_keras() else None
        if now.scopes.beyond(self.scopes) is not NOTHING:
            self.scopes.install()
        self.surroundings.install(now.surroundings)
        if random_state is not None:
            privates.set_keras_state(random_state)
        return now

    def _has_same_keras(self) -> bool:
        """Whether Keras keeps its state in the same objects here; a task may have its own."""
        return all(map(_is, privates.keras_trackers(), self.scopes.values[-2:]))
