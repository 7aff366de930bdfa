"""The models of the workloads, written as their users write them, for any backend of Keras."""

from __future__ import annotations

from typing import Any

import keras

L = keras.layers


def small(
    units: int = 10, activation: str = "relu", learning_rate: float = 0.001, dropout: float = 0.0
) -> Any:
    layers = [L.Input((4,)), L.Dense(units, activation=activation)]
    if dropout:
        layers.append(L.Dropout(dropout))
    return _classifier([*layers, L.Dense(3, activation="softmax")], learning_rate)


def brownlee(
    activation: str = "relu",
    init: str = "glorot_uniform",
    optimizer_name: str = "Adam",
    learning_rate: float | None = None,
    momentum: float = 0.0,
    dropout: float = 0.0,
    max_norm: float | None = None,
    neurons: int = 12,
) -> Any:
    constraint = keras.constraints.MaxNorm(max_norm) if max_norm else None
    # "normal", "uniform" and "zero" are the short names of Keras 2.
    init = {"normal": "random_normal", "uniform": "random_uniform", "zero": "zeros"}.get(init, init)
    model = keras.Sequential(
        [
            L.Input((8,)),
            L.Dense(neurons, activation, kernel_initializer=init, kernel_constraint=constraint),
            *([L.Dropout(dropout)] if dropout else []),
            L.Dense(1, "sigmoid", kernel_initializer=init),
        ]
    )
    chosen = getattr(keras.optimizers, optimizer_name)
    settings = {} if learning_rate is None else {"learning_rate": learning_rate}
    if momentum:
        settings["momentum"] = momentum
    model.compile(chosen(**settings), "binary_crossentropy", metrics=["accuracy"])
    return model


def tuner(
    widths: Any = (64,),
    activation: str = "relu",
    dropout: float = 0.0,
    learning_rate: float = 0.001,
) -> Any:
    layers = [L.Input((64,)), *(L.Dense(width, activation) for width in widths)]
    if dropout:
        layers.append(L.Dropout(dropout))
    return _classifier([*layers, L.Dense(10, "softmax")], learning_rate)


def cnn(dropout: float = 0.0, learning_rate: float = 0.001) -> Any:
    layers = [
        *(L.Input((8, 8, 1)), L.Conv2D(32, 3, activation="relu", padding="same")),
        *(L.MaxPooling2D(), L.Conv2D(64, 3, activation="relu", padding="same")),
        *(L.MaxPooling2D(), L.Flatten(), L.Dropout(dropout), L.Dense(10, activation="softmax")),
    ]
    return _classifier(layers, learning_rate)


def wide(learning_rate: float = 0.001, weight_decay: float = 0.0) -> Any:
    hidden = [L.Dense(512, activation="relu") for _ in range(2)]
    model = keras.Sequential([L.Input((100,)), *hidden, L.Dense(2, activation="softmax")])
    return _compiled(model, keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay))


def gru(units: int = 16, dropout: float = 0.0) -> Any:
    layers = [L.Input((32, 4)), L.GRU(units, dropout=dropout), L.Dense(2, activation="softmax")]
    return _classifier(layers, 0.001)


def regressor(l2: float = 0.0, learning_rate: float = 0.001, dropout: float = 0.0) -> Any:
    layers = [
        L.Input((10,)),
        L.Dense(64, "relu", kernel_regularizer=keras.regularizers.L2(l2)),
        *([L.Dropout(dropout)] if dropout else []),
        L.Dense(1),
    ]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(learning_rate), "mean_squared_error")
    return model


def table(units: int = 4, learning_rate: float = 0.001) -> Any:
    return _classifier([L.Dense(units, "relu"), L.Dense(2, "softmax")], learning_rate)


def _classifier(layers: list[Any], learning_rate: float) -> Any:
    return _compiled(keras.Sequential(layers), keras.optimizers.Adam(learning_rate))


def _compiled(model: Any, optimizer: Any) -> Any:
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
