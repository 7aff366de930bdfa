"""The values of a trained model, apart from the model: what pickling keeps of it.

A pickle refers to the builder by name, as it does to every function, and the model is built
again when it is loaded. So any model that can be built can be pickled, with custom layers and
lambdas in it, and Keras is not patched.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from ..errors import InvalidModel


@dataclass(frozen=True)
class Snapshot:
    """Values of the model's and the optimizer's variables, in their order."""

    model: list[np.ndarray]
    optimizer: list[np.ndarray] | None

    @classmethod
    def of(cls, model: keras.Model) -> Snapshot:
        optimizer = model.optimizer
        trained = optimizer is not None and optimizer.built
        return cls(
            [_value(variable) for variable in model.variables],
            [_value(variable) for variable in optimizer.variables] if trained else None,
        )

    def restore(self, model: keras.Model) -> None:
        """Put the values into a newly built model.

        Raises
        ------
        InvalidModel
            When the builder makes another model than it did when the values were taken.
        """
        _assign("model", model.variables, self.model)
        if self.optimizer is not None:
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            _assign("optimizer", model.optimizer.variables, self.optimizer)


def _value(variable: keras.Variable) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable.value))


def _assign(owner: str, variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    now = [tuple(variable.shape) for variable in variables]
    then = [value.shape for value in values]
    if now != then:
        raise InvalidModel(
            f"The builder makes another {owner} now than when this estimator was saved: its "
            f"variables had the shapes {then}, and now have {now}."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
