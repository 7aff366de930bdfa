"""What comes out of a model: its outputs, their units and their activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from ..errors import InvalidModel


@dataclass(frozen=True)
class Head:
    """One output of a model. ``shape`` is that of one row, without the batch."""

    name: str
    shape: tuple[int | None, ...]
    activation: str | None

    @property
    def units(self) -> int:
        return 1 if not self.shape else int(self.shape[-1] or 0)

    def __str__(self) -> str:
        return f"the output {self.name!r}" if self.name else "the output"


@dataclass(frozen=True)
class Heads:
    """All outputs of a model, and the structure in which the model returns them."""

    outputs: tuple[Head, ...]
    keys: tuple[str, ...] | None = None  # of a dict
    is_sequence: bool = False

    def __len__(self) -> int:
        return len(self.outputs)

    def pack(self, parts: list[Any]) -> Any:
        """Parts in the structure of the model's outputs."""
        if self.keys is not None:
            return dict(zip(self.keys, parts, strict=True))
        return list(parts) if self.is_sequence else parts[0]

    def unpack(self, structure: Any) -> list[Any]:
        """The parts of one structure that has a part for each output."""
        if self.keys is not None:
            return [structure[key] for key in self.keys]
        return list(structure) if self.is_sequence else [structure]


def heads_of(model: keras.Model, outputs: Any) -> Heads:
    """Describe the symbolic ``outputs`` that a call of ``model`` gave."""
    if isinstance(outputs, dict):
        keys = tuple(outputs)
        heads = [_head(model, key, key, outputs[key]) for key in keys]
        return Heads(tuple(heads), keys=keys)
    if isinstance(outputs, list | tuple):
        names = _output_names(model, len(outputs))
        heads = [_head(model, n, i, t) for i, (n, t) in enumerate(zip(names, outputs, strict=True))]
        return Heads(tuple(heads), is_sequence=True)
    return Heads((_head(model, _output_names(model, 1)[0], None, outputs),))


def _head(model: keras.Model, name: str, key: Any, tensor: Any) -> Head:
    if not hasattr(tensor, "shape"):
        raise InvalidModel(f"The model's outputs must be tensors; got {tensor!r}.")
    return Head(name, tuple(tensor.shape[1:]), _activation(_last_layer(model, key, name)))


def _output_names(model: keras.Model, count: int) -> list[str]:
    names = list(getattr(model, "output_names", None) or [])
    return names if len(names) == count else [""] * count


def _last_layer(model: keras.Model, key: Any, name: str = "") -> Any:
    """The layer that makes an output, through models within the model; None where unknown."""
    if isinstance(model, keras.Sequential):
        layer = model.layers[-1] if model.layers else None
    else:
        structure = getattr(model, "output", None) if getattr(model, "outputs", None) else None
        tensor = structure if key is None or structure is None else structure[key]
        made = (layer for layer in model.layers if _output_of(layer) is tensor)
        layer = next(made, None) if tensor is not None else None
        if layer is None:  # a model within the model, which has an output of its own
            layer = next((layer for layer in model.layers if layer.name == name), None)
    return _last_layer(layer, None) if isinstance(layer, keras.Model) else layer


def _output_of(layer: keras.Layer) -> Any:
    try:
        return layer.output
    except (AttributeError, ValueError):  # called never, or several times
        return None


def _activation(layer: Any) -> str | None:
    while isinstance(layer, keras.layers.Wrapper):
        layer = layer.layer
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", None) if activation is not None else None
