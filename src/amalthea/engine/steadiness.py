"""Which models keep small differences small.

Forms differ in the order of sums, and a quick compilation in how a product is rounded before it is
added: by less than one part in ten million in a step. Where a weight has no gradient in exact
arithmetic, rounding is all the gradient that it has, and optimizers like Adam make whole steps of
it: the bias of a layer before batch normalisation, the key bias of attention. Such models are
trained only in forms that give Keras's own numbers to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras

_L = keras.layers
_x = keras.Input((1,))
_FUNCTIONAL = type(keras.Model(_x, _L.Flatten()(_x)))
# None of them takes a mean of its input away, or looks only at differences within it.
_STEADY = frozenset(
    {
        *(_L.InputLayer, _L.Dense, _L.Embedding, _L.Flatten, _L.Reshape, _L.Permute),
        *(_L.RepeatVector, _L.Concatenate, _L.Add, _L.Average, _L.Rescaling, _L.Normalization),
        *(_L.Masking, _L.Activation, _L.ReLU, _L.LeakyReLU, _L.ELU, _L.PReLU, _L.Softmax),
        *(_L.Dropout, _L.SpatialDropout1D, _L.SpatialDropout2D, _L.GaussianNoise),
        *(_L.GaussianDropout, _L.ActivityRegularization, _L.TimeDistributed, _L.Bidirectional),
        *(_L.SimpleRNN, _L.LSTM, _L.GRU, _L.SimpleRNNCell, _L.LSTMCell, _L.GRUCell, _L.RNN),
        *(_L.Conv1D, _L.Conv2D, _L.MaxPooling1D, _L.MaxPooling2D),
        *(_L.AveragePooling1D, _L.AveragePooling2D, _L.GlobalAveragePooling1D),
        *(_L.GlobalAveragePooling2D, _L.GlobalMaxPooling1D, _L.GlobalMaxPooling2D),
        *(keras.Sequential, _FUNCTIONAL),
    }
)


def is_steady(model: keras.Model) -> bool:
    return all(type(layer) in _STEADY for layer in _layers(model))


def _layers(layer: keras.Layer) -> Iterator[keras.Layer]:
    yield layer
    for name in ("layers", "layer", "forward_layer", "backward_layer", "cell"):
        inner = getattr(layer, name, ())
        for part in inner if isinstance(inner, list | tuple) else (inner,):
            if isinstance(part, keras.Layer):
                yield from _layers(part)
