"""Attributes of Keras's objects that are but sizes of arrays.

Where a model has arrays of other sizes, the same is computed on them: nothing in the classes named
here looks at a size to decide what to compute, but for sizes of 1, along which JAX repeats an
array. Not so where channels come first: then windows may move along units, and how many fit is
another matter. Nor where channels are in groups. A test holds the classes against the trace.
"""

from __future__ import annotations

from typing import Any

import keras

from .keras_numbers import NUMBERS

_L, _R, _C = keras.layers, keras.regularizers, keras.constraints
_OF_ANY_LAYER = frozenset({"_build_shapes_dict"})
_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")
_OTHER_LAYERS = """
    Activation ActivityRegularization Add AveragePooling1D AveragePooling2D AveragePooling3D
    BatchNormalization Concatenate Dropout ELU Flatten GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D
    GlobalMaxPooling2D GlobalMaxPooling3D InputLayer LayerNormalization LeakyReLU MaxPooling1D
    MaxPooling2D MaxPooling3D Multiply Normalization PReLU ReLU Rescaling Softmax SpatialDropout1D
    SpatialDropout2D SpatialDropout3D
"""
SIZES: dict[type, frozenset[str]] = {
    keras.KerasTensor: frozenset({"_shape"}),
    _L.InputSpec: frozenset({"axes", "shape"}),
    _L.Dense: _OF_ANY_LAYER | {"units"},
    _L.Embedding: _OF_ANY_LAYER | {"input_dim", "output_dim"},
    **dict.fromkeys((getattr(_L, name) for name in _CONVOLUTIONS), _OF_ANY_LAYER | {"filters"}),
    **dict.fromkeys((getattr(_L, name) for name in _OTHER_LAYERS.split()), _OF_ANY_LAYER),
}
# Whose code might look at sizes, where it is not named here.
_DECIDE = (_L.Layer, keras.optimizers.Optimizer, _R.Regularizer, _C.Constraint)
_SAME_FOR_ALL = frozenset({*SIZES, *NUMBERS, _R.L1, _C.NonNeg, _C.UnitNorm})


def names_of_sizes(thing: Any) -> frozenset[str]:
    """The attributes of an object that are sizes."""
    return SIZES.get(type(thing), frozenset())


def computes_the_same(thing: Any) -> bool:
    """Whether it does on arrays of other sizes what it does on these."""
    if not isinstance(thing, _DECIDE):
        return True
    if type(thing) in _SAME_FOR_ALL:
        channels_last = getattr(thing, "data_format", "channels_last") == "channels_last"
        return channels_last and getattr(thing, "groups", 1) == 1
    return isinstance(thing, keras.Model)  # what a model of one's own does, no likeness tells
