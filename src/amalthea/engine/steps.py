"""A model as pure functions: state in, state out.

Keras's JAX trainer is made of such functions, and its own ``fit`` compiles and calls just these.
So what they give is what ``fit`` gives.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import keras

Arrays = list[jax.Array]


class State(NamedTuple):
    """Values of a model's variables, in Keras's order."""

    trainable: Arrays
    non_trainable: Arrays
    optimizer: Arrays
    metrics: Arrays


def state_of(model: keras.Model) -> State:
    return State(*([variable.value for variable in group] for group in _variables(model)))


def weights_of(model: keras.Model) -> tuple[Arrays, Arrays]:
    """What a prediction needs of the state."""
    return (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )


def put_state(model: keras.Model, state: State) -> None:
    for group, values in zip(_variables(model), state, strict=True):
        for variable, value in zip(group, values, strict=True):
            variable.assign(value)


def train_step(model: keras.Model, state: State, data: Any) -> tuple[State, dict[str, Any]]:
    logs, (trainable, non_trainable, optimizer, metrics) = model.train_step(tuple(state), data)
    return State(trainable, non_trainable, optimizer, metrics), logs


def test_step(model: keras.Model, state: State, data: Any) -> tuple[State, dict[str, Any]]:
    logs, (trainable, non_trainable, metrics) = model.test_step(
        (state.trainable, state.non_trainable, state.metrics), data
    )
    return State(trainable, non_trainable, state.optimizer, metrics), logs


def predict_step(model: keras.Model, weights: tuple[Arrays, Arrays], x: Any) -> tuple[Any, Any]:
    outputs, non_trainable = model.predict_step(weights, (x,))
    return outputs, (weights[0], non_trainable)


def _variables(model: keras.Model) -> tuple[list[keras.Variable], ...]:
    return (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
