"""Attributes of Keras's objects that are but numbers to compute with.

Where a model has another such number, the same steps are computed with it: nothing in Keras looks
at it to decide what to compute, but for the two ends that are given here. A test holds each of them
against the trace.
"""

from __future__ import annotations

import math

import keras

Between = tuple[float, float]  # these two are left out, since with them something else is computed
_ANY: Between = (0.0, math.inf)
_SHARE: Between = (0.0, 1.0)
_L, _R, _C = keras.layers, keras.regularizers, keras.constraints
_OF_ANY_OPTIMIZER: dict[str, Between] = {
    **dict.fromkeys(("weight_decay", "clipnorm", "global_clipnorm", "clipvalue"), _ANY),
    **dict.fromkeys(("beta_1", "beta_2", "rho", "momentum", "ema_momentum"), _SHARE),
    "epsilon": _ANY,
}
NUMBERS: dict[type, dict[str, Between]] = {
    _L.Dropout: {"rate": _SHARE},
    _L.SpatialDropout1D: {"rate": _SHARE},
    _L.SpatialDropout2D: {"rate": _SHARE},
    _L.SpatialDropout3D: {"rate": _SHARE},
    _L.GaussianDropout: {"rate": _SHARE},
    _L.GaussianNoise: {"stddev": _ANY},
    _L.LeakyReLU: {"negative_slope": _ANY},
    _R.L2: {"l2": _ANY},
    _R.L1L2: {"l1": _ANY, "l2": _ANY},
    _C.MaxNorm: {"max_value": _ANY},
    _C.MinMaxNorm: {"min_value": _ANY, "max_value": _ANY},
    **{
        getattr(keras.optimizers, name): _OF_ANY_OPTIMIZER
        for name in ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam")
    },
}


def is_between(value: float, ends: Between) -> bool:
    return ends[0] < value < ends[1]
