"""The callbacks of one fit: the user's, made fresh, and early stopping where it is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from ..errors import InvalidParameter
from ..routing import below
from .objects import fresh
from .settings import Settings


def fit_callbacks(settings: Settings, has_validation: bool) -> list[keras.callbacks.Callback]:
    """Callbacks for ``keras.Model.fit``.

    Raises
    ------
    InvalidParameter
        When ``callbacks`` holds anything but callbacks.
    """
    nested = {**below("callbacks", settings.routes.fit), **settings.routes.callbacks}
    made = _made("callbacks", settings.values["callbacks"], nested)
    if settings.early_stopping:
        made.append(_early_stopping(settings, has_validation))
    return made


def predict_callbacks(given: Mapping[str, Any]) -> list[keras.callbacks.Callback]:
    """Callbacks from the ``predict__`` parameters."""
    return _made("predict__callbacks", given.get("callbacks"), below("callbacks", given))


def _made(argument: str, spec: Any, nested: Mapping[str, Any]) -> list[Any]:
    for part in _flat(spec, make=False):
        if inspect.isclass(part) and not issubclass(part, keras.callbacks.Callback):
            raise InvalidParameter(f"{argument} must hold Keras callbacks; got {part!r}.")
    callbacks = list(_flat(fresh(argument, spec, nested, _class_of_callback)))
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise InvalidParameter(
                f"{argument} must hold keras.callbacks.Callback classes or instances, alone or "
                f"in a list or dict; got {callback!r}."
            )
    return callbacks


def _flat(callbacks: Any, make: bool = True) -> Iterator[Any]:
    if callbacks is None:
        return
    if isinstance(callbacks, Mapping):
        callbacks = list(callbacks.values())
    if isinstance(callbacks, list | tuple):
        for callback in callbacks:
            yield from _flat(callback, make)
    else:
        made = make and isinstance(callbacks, str)
        yield _class_of_callback(callbacks)() if made else callbacks


def _early_stopping(settings: Settings, has_validation: bool) -> keras.callbacks.Callback:
    return keras.callbacks.EarlyStopping(
        monitor="val_loss" if has_validation else "loss",
        mode="min",
        patience=int(settings.values["patience"]),
        restore_best_weights=bool(settings.values["restore_best_weights"]),
    )


def _class_of_callback(name: str) -> Any:
    found = getattr(keras.callbacks, name, None)
    if found is None:
        raise InvalidParameter(f"callbacks: keras.callbacks has no {name!r}.")
    return found
