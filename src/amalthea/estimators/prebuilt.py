"""Clones of a prebuilt model, which is itself never touched."""

from __future__ import annotations

import keras

from ..errors import InvalidModel
from .compiling import compile_like
from .model_inputs import has_inputs


def copy_of_model(model: keras.Model, with_weights: bool) -> keras.Model:
    """A clone with new initial weights, or with the model's own; compiled as the model is."""
    try:
        if has_inputs(model) or isinstance(model, keras.Sequential):
            clone = keras.models.clone_model(model, clone_function=_clone_layer)
        else:
            clone = keras.models.clone_model(model)
    except Exception as error:
        raise InvalidModel(
            f"The prebuilt model {model.name!r} cannot be cloned: {error}. Give model= a function "
            "that builds it."
        ) from error
    if with_weights and not model.built:
        raise InvalidModel(
            f"pretrained=True, but the model {model.name!r} is not built and has no weights yet."
        )
    if with_weights:
        if not clone.built and model.built and getattr(model, "input_shape", None):
            clone.build(model.input_shape)
        clone.set_weights(model.get_weights())
    if model.compiled:
        compile_like(clone, model)
    return clone


def _clone_layer(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, keras.layers.Lambda):  # the function is at hand, nothing is loaded
        return keras.layers.Lambda.from_config(layer.get_config(), safe_mode=False)
    if isinstance(layer, keras.Model) and has_inputs(layer):
        return keras.models.clone_model(layer, clone_function=_clone_layer)
    return type(layer).from_config(layer.get_config())
