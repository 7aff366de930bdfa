"""Models of every kind, data for them, optimizers and callbacks of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from amalthea.engine.rows import Rows

L = keras.layers
O = keras.optimizers  # noqa: E741
N, SEED = 50, 3


def table(rng: np.random.Generator) -> Any:
    return rng.normal(size=(N, 6)).astype("float32")


def pictures(rng: np.random.Generator) -> Any:
    return rng.normal(size=(N, 8, 8, 2)).astype("float32")


def series(rng: np.random.Generator) -> Any:
    return rng.normal(size=(N, 5, 4)).astype("float32")


def words(rng: np.random.Generator) -> Any:
    return rng.integers(0, 12, size=(N, 5)).astype("int32")


def two(rng: np.random.Generator) -> Any:
    return {"a": table(rng), "b": rng.normal(size=(N, 3)).astype("float32")}


def chain(*layers: Any) -> keras.Model:
    return keras.Sequential([*layers, L.Dense(3, "softmax")])


class Shift(keras.Layer):
    """A custom layer with an attribute that its config does not tell."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def call(self, x: Any) -> Any:
        return x + self.by


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.normal, self.last = L.Dense(5), L.BatchNormalization(), L.Dense(3)

    def call(self, x: Any, training: bool = False) -> Any:
        self.add_loss(keras.ops.mean(x**2) * 0.01)
        return keras.ops.softmax(self.last(self.normal(self.first(x), training=training)))


def residual() -> keras.Model:
    x = keras.Input((6,))
    shared = L.Dense(6, "relu")
    return keras.Model(x, L.Dense(3, "softmax")(L.Add()([shared(shared(x)), x])))


def attention() -> keras.Model:
    x = keras.Input((5, 4))
    y = L.MultiHeadAttention(2, 3, dropout=0.1)(x, x)
    y = L.LayerNormalization()(L.Add()([x, y]))
    return keras.Model(x, L.Dense(3, "softmax")(L.GlobalAveragePooling1D()(y)))


def several_inputs() -> keras.Model:
    a, b = keras.Input((6,), name="a"), keras.Input((3,), name="b")
    return keras.Model([a, b], L.Dense(3, "softmax")(L.Concatenate()([L.Dense(4)(a), b])))


MODELS: dict[str, tuple[Callable[[], keras.Model], Callable[..., Any]]] = {
    "dense": (lambda: chain(L.Dense(8, "relu")), table),
    "dropout": (lambda: chain(L.Dense(8), L.Dropout(0.4), L.GaussianNoise(0.1)), table),
    "batch normalisation": (lambda: chain(L.Dense(8), L.BatchNormalization()), table),
    "layer normalisation": (lambda: chain(L.LayerNormalization(), L.Dense(8, "gelu")), table),
    "regularisers and constraints": (
        lambda: chain(
            L.Dense(
                8,
                kernel_regularizer="l1l2",
                activity_regularizer="l2",
                kernel_constraint=keras.constraints.MaxNorm(0.5),
            )
        ),
        table,
    ),
    "convolution": (lambda: chain(L.Conv2D(3, 3), L.MaxPooling2D(), L.Flatten()), pictures),
    "embedding": (lambda: chain(L.Embedding(12, 4), L.Flatten()), words),
    "masked lstm": (lambda: chain(L.Embedding(12, 4, mask_zero=True), L.LSTM(4)), words),
    "bidirectional gru": (lambda: chain(L.Bidirectional(L.GRU(3, dropout=0.2))), series),
    "attention": (attention, series),
    "residual with a shared layer": (residual, table),
    "several inputs": (several_inputs, two),
    "custom layer": (lambda: chain(Shift(0.5), L.Dense(4)), table),
    "preprocessing": (lambda: chain(L.Rescaling(0.5), L.UnitNormalization(), L.Dense(4)), table),
    "subclassed, with a loss of its own": (Subclassed, table),
}
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: O.SGD(0.1, momentum=0.9, nesterov=True),
    "RMSprop": lambda: O.RMSprop(0.01),
    "Adagrad": lambda: O.Adagrad(0.1),
    "Adadelta": lambda: O.Adadelta(1.0),
    "Adam": lambda: O.Adam(0.01, amsgrad=True),
    "AdamW": lambda: O.AdamW(0.01, weight_decay=0.1),
    "Adamax": lambda: O.Adamax(0.01),
    "Nadam": lambda: O.Nadam(0.01),
    "Ftrl": lambda: O.Ftrl(0.05),
    "Lion": lambda: O.Lion(0.001),
    "Adafactor": lambda: O.Adafactor(0.01),
    "schedule": lambda: O.SGD(O.schedules.CosineDecay(0.1, 10)),
    "moving average": lambda: O.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "clipping": lambda: O.Adam(0.01, global_clipnorm=0.1),
    "accumulation": lambda: O.Adam(0.01, gradient_accumulation_steps=2),
    "loss scaling": lambda: O.LossScaleOptimizer(O.Adam(0.01)),
}

CALLBACKS: dict[str, Callable[[], Any]] = {
    "early stopping": lambda: keras.callbacks.EarlyStopping(
        "val_loss", patience=0, min_delta=0.5, restore_best_weights=True
    ),
    "plateau": lambda: keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=10.0),
    "schedule": lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
    "swapped averages": lambda: keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
}


def seeded_model(build: Callable[[], keras.Model], optimizer: Any, **compiling: Any) -> keras.Model:
    keras.utils.set_random_seed(SEED)
    model = build()
    compiling.setdefault("loss", "sparse_categorical_crossentropy")
    compiling.setdefault("metrics", ["accuracy"])
    model.compile(optimizer(), **compiling)
    return model


def data_for(make: Callable[..., Any], weighted: bool = False) -> Rows:
    rng = np.random.default_rng(0)
    x, y = make(rng), rng.integers(0, 3, size=N).astype("int32")
    return Rows(x, y, rng.uniform(0.1, 2, size=N).astype("float32") if weighted else None)


def reordered(rows: Rows) -> Rows:
    """Other rows of the same shapes."""
    backwards = np.arange(len(rows))[::-1]
    x, y, *weights = rows.take(backwards)
    return Rows(x, y, *weights)


def cut(rows: Rows, n_rows: int) -> Rows:
    x, y, *weights = rows.take(np.arange(n_rows))
    return Rows(x, y, *weights)
