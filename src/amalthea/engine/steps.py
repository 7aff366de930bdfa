"""A model as pure functions: state in, state out.

Keras's JAX trainer is made of such functions, and its own ``fit`` compiles and calls just these.
So what they give is what ``fit`` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np

Arrays = list[jax.Array] | list[Any]  # of the device, or of NumPy
Address = tuple[str, int]  # of an array of a state: the name of its group, and its number there


class State(NamedTuple):
    """Values of a model's variables, in Keras's order.

    ``settings`` are hyperparameters that a program takes as inputs; no step changes them.
    """

    trainable: Arrays
    non_trainable: Arrays
    optimizer: Arrays
    metrics: Arrays
    settings: Sequence[Any] = ()


def as_copies(arrays: Any) -> Any:
    """The same values in other arrays, for a program that consumes what it is given.

    On a CPU they are views of NumPy's, which no program consumes.
    """
    copy = np.asarray if jax.default_backend() == "cpu" else jnp.copy
    return jax.tree.map(copy, arrays)


def variables_of(model: keras.Model) -> list[list[keras.Variable]]:
    """The variables whose values make a state."""
    return [
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables if model.optimizer else [],
        model.metrics_variables,
    ]


def state_of(model: keras.Model) -> State:
    return State(*([variable.value for variable in group] for group in variables_of(model)))


def state_to_predict(model: keras.Model, weights: tuple[Arrays, Arrays] | None = None) -> State:
    """What a prediction needs of the state; ``weights`` in place of the model's own."""
    if weights is None:
        groups = (model.trainable_variables, model.non_trainable_variables)
        weights = [variable.value for variable in groups[0]], [v.value for v in groups[1]]
    return State(list(weights[0]), list(weights[1]), [], [])


def put_state(model: keras.Model, state: State) -> None:
    """Give the model those values; metrics only where the model has them all."""
    *groups, metrics = zip(variables_of(model), state[:4], strict=True)
    if len(metrics[0]) == len(metrics[1]):
        groups.append(metrics)
    for group, values in groups:
        for variable, value in zip(group, jax.device_put(values), strict=True):
            variable.assign(value)


def train_step(model: keras.Model, state: State, data: Any) -> tuple[State, dict[str, Any]]:
    logs, (trainable, non_trainable, optimizer, metrics) = model.train_step(state[:4], data)
    return State(trainable, non_trainable, optimizer, metrics), logs


def test_step(model: keras.Model, state: State, data: Any) -> tuple[State, dict[str, Any]]:
    logs, (trainable, non_trainable, metrics) = model.test_step(
        (state.trainable, state.non_trainable, state.metrics), data
    )
    return State(trainable, non_trainable, state.optimizer, metrics), logs


def predict_step(model: keras.Model, state: State, x: Any) -> tuple[State, Any]:
    outputs, non_trainable = model.predict_step((state.trainable, state.non_trainable), (x,))
    return state._replace(non_trainable=non_trainable), outputs
