"""What a loss expects of the target, and which loss a target and an output call for."""

from __future__ import annotations

import inspect
import re
from typing import Any

import keras

from ..errors import InvalidParameter, TargetMismatch
from .heads import Head

# Losses that take class numbers, one per row; all other losses of several units take one column
# per unit.
_OF_NUMBERS = {"sparse_categorical_crossentropy"}
_OF_SEVERAL_UNITS = _OF_NUMBERS | {
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "categorical_generalized_cross_entropy",
}
_MARGIN = {"hinge", "squared_hinge"}


def loss_name(loss: Any) -> str:
    """The loss in snake case; an empty string for one that Keras does not know."""
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError as error:
            raise InvalidParameter(f"loss={loss!r} is no loss that Keras knows.") from error
    if loss is None:
        return ""
    name = getattr(loss, "__name__", None) or type(loss).__name__
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    snake = {"kldivergence": "kl_divergence"}.get(snake, snake)
    return snake if hasattr(keras.losses, snake) or is_keras_loss(loss) else ""


def is_keras_loss(loss: Any) -> bool:
    return type(loss).__module__.startswith("keras.")


def takes_logits(loss: Any) -> bool:
    """Whether the loss applies the sigmoid or softmax itself."""
    if hasattr(loss, "get_config"):
        return bool(loss.get_config().get("from_logits", False))
    keywords = getattr(loss, "keywords", None) or {}
    return bool(keywords.get("from_logits", False))


def wants_numbers(loss: Any) -> bool:
    return loss_name(loss) in _OF_NUMBERS


def wants_columns(loss: Any) -> bool:
    """Whether a target of several classes must be one column per class.

    A loss that Keras does not know gets the target as the user wrote it.
    """
    name = loss_name(loss)
    return bool(name) and name not in _OF_NUMBERS


def is_margin(loss: Any) -> bool:
    return loss_name(loss) in _MARGIN


def is_of_several_units(loss: Any) -> bool:
    return loss_name(loss) in _OF_SEVERAL_UNITS


def is_categorical(loss: Any) -> bool:
    """Whether the units of the output are alternatives, of which one is right."""
    return is_of_several_units(loss) or loss_name(loss) == "kl_divergence"


def loss_for_classes(head: Head, target: str, n_classes: int) -> Any:
    """The loss for a classifier's output when the user gave none.

    Raises
    ------
    TargetMismatch
        When the output's activation leaves more than one reading.
    """
    if head.units == 1:
        if head.activation == "sigmoid" and n_classes <= 2:
            return "binary_crossentropy"
    elif target == "multilabel-indicator":
        if head.activation == "sigmoid":
            return "binary_crossentropy"
    elif head.activation == "softmax":
        one_hot = target == "multiclass-onehot"
        return "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    elif head.activation == "sigmoid" and target == "multiclass-onehot":
        return "binary_crossentropy"
    raise TargetMismatch(
        f"loss is not given and cannot be chosen: y is {target} with {n_classes} classes, and "
        f"{head} has {head.units} units with the activation {head.activation or 'unknown'}. "
        "Give loss=..., or end the model with a sigmoid (one unit for two classes, or one per "
        "label) or a softmax (one unit per class)."
    )


def class_for(name: str) -> Any:
    """The class of a loss from its name, or the function where Keras has no class."""
    loss = keras.losses.get(name)
    if inspect.isfunction(loss):
        camel = loss.__name__.title().replace("_", "")
        camel = {"KlDivergence": "KLDivergence"}.get(camel, camel)
        return getattr(keras.losses, camel, loss)
    return type(loss) if not inspect.isclass(loss) else loss
