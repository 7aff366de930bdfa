"""From a builder to a model that is ready to be compiled: called, checked, built for X."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from typing import Any

import keras

from ..engine.rows import Arrays, map_arrays
from ..errors import BuildError, InvalidModel, InvalidModelType, InvalidParameter
from .compiling import own_objects
from .heads import Heads, heads_of
from .model_inputs import check_inputs, inputs_for, symbol_like
from .prebuilt import copy_of_model
from .settings import Settings, builder_name
from .signatures import REQUIRED

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # Keras paints some of its messages


def make_model(
    settings: Settings, meta: dict[str, Any], compile_kwargs: Any, family: str | None
) -> keras.Model:
    """Call the builder, or clone the prebuilt model.

    Parameters
    ----------
    settings : Settings
    meta : dict
        What is known of X and y, for builders that ask for ``meta``.
    compile_kwargs : callable
        Gives the arguments of ``compile``, for builders that ask for them.
    family : str or None
        The search that this fit belongs to: a warning is passed on once in each.

    Raises
    ------
    BuildError
        When the builder raises.
    InvalidModelType
        When it returns anything but a Keras model.
    """
    if isinstance(settings.builder, keras.Model):
        return copy_of_model(settings.builder, bool(settings.values["pretrained"]))
    if settings.values["pretrained"]:
        raise InvalidParameter(
            "pretrained=True keeps the weights of a prebuilt model, but model is a builder "
            f"({builder_name(settings.builder)}). Let the builder load its weights, and leave "
            "pretrained out."
        )
    # A default that holds state, such as optimizer=Adam(), would be shared by all fits.
    values = own_objects({**settings.signature.stateful(), **settings.routes.model}, settings)
    if "meta" in settings.signature.asks_for:
        values["meta"] = meta
    if "compile_kwargs" in settings.signature.asks_for:
        values["compile_kwargs"] = compile_kwargs()
    return _called(settings, values, family)


def build_for(model: keras.Model, x: Arrays) -> Heads:
    """Create the model's variables for inputs like ``x``, and describe its outputs.

    Raises
    ------
    InvalidModel
        When the model does not accept rows like those of ``x``.
    """
    check_inputs(model, x)
    x = inputs_for(model, x)
    try:
        outputs = model(map_arrays(symbol_like, x))
    except Exception as error:
        shapes = map_arrays(lambda array: tuple(array.shape[1:]), x)
        words = _COLOURS.sub("", str(error))
        raise InvalidModel(
            f"The model does not accept X with rows of shape {shapes}: {words}"
        ) from error
    return heads_of(model, outputs)


def _called(settings: Settings, values: dict[str, Any], family: str | None) -> keras.Model:
    builder = settings.builder
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = builder(**values)
        except Exception as error:
            raise BuildError(
                f"{builder_name(builder)}({_written(settings, values)}) raised "
                f"{type(error).__name__}: {error}"
            ) from error
    _pass_on(caught, family)
    if isinstance(model, keras.Model):
        return model
    advice = " Does it end with `return model`?" if model is None else ""
    raise InvalidModelType(
        f"{builder_name(builder)}({_written(settings, values)}) must return a keras.Model; "
        f"it returned {model!r}.{advice}"
    )


def _written(settings: Settings, values: dict[str, Any]) -> str:
    """The arguments of the call, with the builder's own defaults."""
    defaults = {n: d for n, d in settings.signature.defaults.items() if d is not REQUIRED}
    shown = {name: value for name, value in {**defaults, **values}.items() if name != "meta"}
    return ", ".join(f"{name}={value!r}" for name, value in shown.items())


_told: OrderedDict[str, set[tuple[str, str]]] = OrderedDict()
_REMEMBERED_FAMILIES = 64


def _pass_on(caught: list[warnings.WarningMessage], family: str | None) -> None:
    """Give the builder's warnings to the user: within one search, each of them once."""
    told = set() if family is None else _told.setdefault(family, set())
    while len(_told) > _REMEMBERED_FAMILIES:
        _told.popitem(last=False)
    for warning in caught:
        key = (warning.category.__name__, str(warning.message))
        if family is not None and key in told:
            continue
        told.add(key)
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
