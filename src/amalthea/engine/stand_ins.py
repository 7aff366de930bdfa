"""A model as far as Keras's own callbacks look at it while a cohort trains.

Early stopping, plateaus, schedules and the stop at NaN read and change few things of a model: the
learning rate, the weights, whether to stop. A stand-in gives them just these, from the arrays of
the cohort, so that no model has to be brought up to date after each epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras
import numpy as np

from .steps import State

_CONTENT_WITH_A_STAND_IN = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.TerminateOnNaN,
    keras.callbacks.History,
)
_SETS_THE_RATE = (keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler)


def stand_in_suffices(callbacks: Sequence[Any], model: keras.Model) -> bool:
    """Whether these callbacks need no more of the model than a stand-in has."""
    if not all(_plain(callback) for callback in callbacks):
        return False
    sets_rate = any(isinstance(callback, _SETS_THE_RATE) for callback in callbacks)
    return not sets_rate or rate_index(model.optimizer) is not None


def rate_index(optimizer: Any) -> int | None:
    """Where the learning rate is among the optimizer's variables; None for a schedule."""
    if hasattr(optimizer, "optimizers"):
        return None
    rate = optimizer.learning_rate
    places = [n for n, variable in enumerate(optimizer.variables) if variable is rate]
    return places[0] if places else None


class StandIn:
    """What callbacks get as their ``model``."""

    def __init__(self, model: keras.Model, metrics: list[Any]) -> None:
        self.stop_training = False
        self.metrics = metrics
        self.history: Any = None
        self.optimizer = _OptimizerStandIn(rate_index(model.optimizer))
        groups = (model.trainable_variables, model.non_trainable_variables)
        place = {id(v): (g, n) for g, group in enumerate(groups) for n, v in enumerate(group)}
        self._places = [place[id(variable)] for variable in model.weights]
        self._state: Callable[[], State] | None = None

    def see(self, state: Callable[[], State]) -> None:
        """Callbacks see this state from now on; it is fetched only when they look."""
        self._state = state
        self.optimizer.see(state)

    def get_weights(self) -> list[np.ndarray]:
        assert self._state is not None
        state = self._state()
        return [np.array(state[group][number]) for group, number in self._places]


class _OptimizerStandIn:
    def __init__(self, index: int | None) -> None:
        self.index = index
        self._state: Callable[[], State] | None = None
        self._given: Any = None

    def see(self, state: Callable[[], State]) -> None:
        self._state = state

    @property
    def learning_rate(self) -> Any:
        assert self._state is not None and self.index is not None
        if self._given is not None:
            return self._given
        return np.asarray(self._state().optimizer[self.index])

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        self._given = np.asarray(rate, dtype=self.learning_rate.dtype)

    def new_rate(self) -> tuple[int, Any] | None:
        """Where the learning rate is, and the one set since this was last asked; or None."""
        given, self._given = self._given, None
        return None if given is None or self.index is None else (self.index, given)


def _plain(callback: Any) -> bool:
    methods_of_its_own = any(name in vars(callback) for name in dir(keras.callbacks.Callback))
    return type(callback) in _CONTENT_WITH_A_STAND_IN and not methods_of_its_own


def compare_quickly(callbacks: Sequence[Any]) -> None:
    """Let callbacks compare floats as Keras does, in single precision, but without JAX."""
    if np.dtype(jax.dtypes.canonicalize_dtype("float64")) == "float64":
        return
    for callback in callbacks:
        ours = _QUICKLY.get(getattr(callback, "monitor_op", None))
        if ours is not None:
            callback.monitor_op = ours


def compare_as_before(callbacks: Sequence[Any]) -> None:
    for callback in callbacks:
        keras_own = _BY_KERAS.get(getattr(callback, "monitor_op", None))
        if keras_own is not None:
            callback.monitor_op = keras_own


def _less(one: Any, other: Any) -> bool:
    return bool(np.float32(one) < np.float32(other))


def _greater(one: Any, other: Any) -> bool:
    return bool(np.float32(one) > np.float32(other))


_QUICKLY: dict[Any, Callable[[Any, Any], bool]] = {
    keras.ops.less: _less,
    keras.ops.greater: _greater,
}
_BY_KERAS: dict[Any, Any] = {ours: theirs for theirs, ours in _QUICKLY.items()}
