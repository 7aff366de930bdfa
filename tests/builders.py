"""Functions that build the small models of the tests."""

from __future__ import annotations

from typing import Any

import keras


def classifier(units: int = 8, activation: str = "relu", n_classes: int = 3) -> keras.Model:
    """Not compiled; no input shape."""
    return keras.Sequential(
        [
            keras.layers.Dense(units, activation=activation),
            keras.layers.Dense(n_classes, activation="softmax"),
        ]
    )


def compiled_classifier(units: int = 8, optimizer: Any = "adam") -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def regressor(units: int = 8) -> keras.Model:
    return keras.Sequential([keras.layers.Dense(units, activation="relu"), keras.layers.Dense(1)])


def for_any_classes(meta: dict[str, Any], hidden: int = 32) -> keras.Model:
    """A head for whatever kind of target comes."""
    model = keras.Sequential(
        [keras.Input(meta["X_shape_"][1:]), keras.layers.Dense(hidden, "relu")]
    )
    if meta["target_type_"] == "multilabel-indicator":
        model.add(keras.layers.Dense(meta["n_outputs_"], "sigmoid"))
    elif meta["target_type_"] == "binary":
        model.add(keras.layers.Dense(1, "sigmoid"))
    else:
        model.add(keras.layers.Dense(meta["n_classes_"], "softmax"))
    return model


def for_any_values(meta: dict[str, Any], hidden: int = 32) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(meta["X_shape_"][1:]),
            keras.layers.Dense(hidden, "relu"),
            keras.layers.Dense(meta["n_outputs_"]),
        ]
    )
