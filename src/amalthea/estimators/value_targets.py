"""Numbers to what a model's outputs want, and back in the form and float type of y."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from ..engine.rows import Arrays, fits_keras_floats, in_numpy_floats
from ..errors import InvalidData, TargetMismatch
from . import losses
from .heads import Head, Heads


class ValueTarget:
    """The target of a regressor.

    Parameters
    ----------
    y : float array of shape (n_samples,) or (n_samples, ...)
    """

    def __init__(self, y: np.ndarray) -> None:
        self._row_shape = y.shape[1:]
        self._dtype = y.dtype
        self._heads: Heads | None = None

    def state(self) -> dict[str, Any]:
        """What tells this target, in JSON's types."""
        return {"row_shape": self._row_shape, "dtype": self._dtype.str}

    def label_arrays(self) -> list[np.ndarray]:
        return []

    @classmethod
    def from_state(cls, state: dict[str, Any], label_arrays: list[np.ndarray]) -> ValueTarget:
        return cls(np.empty((0, *state["row_shape"]), dtype=np.dtype(state["dtype"])))

    @property
    def kind(self) -> str:
        return "continuous" if self.n_outputs == 1 else "continuous-multioutput"

    @property
    def n_outputs(self) -> int:
        return int(np.prod(self._row_shape)) if self._row_shape else 1

    def describe(self, n_samples: int) -> dict[str, Any]:
        """What a builder may want to know of y."""
        return {
            "n_outputs_": self.n_outputs,
            "n_outputs_expected_": 1,
            "target_type_": self.kind,
            "y_shape_": (n_samples, *self._row_shape),
            "y_dtype_": self._dtype,
        }

    def default_losses(self, heads: Heads) -> Any:
        return heads.pack(["mean_squared_error"] * len(heads))

    def fit_to(self, heads: Heads, head_losses: list[Any]) -> None:
        """Settle how y is cut for the model's outputs.

        Raises
        ------
        TargetMismatch
            When the outputs have not as many units as y has columns, or a loss is for classes.
        """
        for loss in head_losses:
            if losses.is_of_several_units(loss):
                raise TargetMismatch(
                    f"loss={losses.loss_name(loss)!r} is for classes, but y has numbers. Use "
                    "'mean_squared_error' or the like, or a KerasClassifier."
                )
        shapes = [head.shape for head in heads.outputs]
        units = sum(_size(head) for head in heads.outputs)
        if units != self.n_outputs:
            raise TargetMismatch(
                f"y has {self.n_outputs} column{'s' * (self.n_outputs > 1)}, but the model's "
                f"output has rows of shape {shapes[0] if len(shapes) == 1 else shapes}. End the "
                f"model with {self.n_outputs} unit{'s' * (self.n_outputs > 1)}."
            )
        self._heads = heads

    def encode(self, y: np.ndarray) -> Arrays:
        assert self._heads is not None
        if y.shape[1:] != self._row_shape:
            raise InvalidData(f"y must have rows of shape {self._row_shape}; got {y.shape[1:]}.")
        flat = y.reshape(len(y), -1)
        ends = np.cumsum([_size(head) for head in self._heads.outputs])
        parts = np.split(flat, ends[:-1], axis=1)
        pairs = zip(parts, self._heads.outputs, strict=True)
        return self._heads.pack([part.reshape(len(y), *head.shape) for part, head in pairs])

    def decide(self, outputs: Arrays) -> np.ndarray:
        """Values in the shape and the float type of y."""
        assert self._heads is not None
        parts = [in_numpy_floats(part) for part in self._heads.unpack(outputs)]
        flat = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
        return flat.reshape(len(flat), *self._row_shape).astype(self._dtype)


def read_values(y: Any) -> np.ndarray:
    """y as floats: its own float type, float64 for other numbers."""
    if y is None:
        raise InvalidData("This regressor requires y to be passed, but the target y is None.")
    y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    if y.dtype.kind == "c":
        raise InvalidData("Complex data not supported: y must be real numbers.")
    if y.dtype.kind in "mMUS":
        raise InvalidData(f"y must be numbers; got an array of {y.dtype}.")
    if y.dtype.kind != "f":
        try:
            y = y.astype("float64")
        except (TypeError, ValueError) as error:
            raise InvalidData(f"y must be numbers; got an array of {y.dtype}: {error}") from error
    if y.ndim == 0:
        raise InvalidData(f"y must have a row for each sample; got the scalar {y!r}.")
    if not np.isfinite(y).all():
        raise InvalidData("Input y contains NaN or infinity.")
    if not fits_keras_floats(y):
        raise InvalidData(
            "Input y contains infinity or a value too large for Keras's "
            f"{keras.config.floatx()}: its values go from {y.min():g} to {y.max():g}."
        )
    return y


def _size(head: Head) -> int:
    """Numbers in one row of an output; a dimension left open counts as one."""
    return int(np.prod([size or 1 for size in head.shape], dtype=int))
