"""From a builder to a model that is ready to be compiled: called, checked, built for X."""

from __future__ import annotations

import inspect
import re
import warnings
from collections import OrderedDict
from typing import Any

import keras

from ..engine.rows import Arrays, in_keras_floats, map_arrays
from ..errors import BuildError, InvalidModel, InvalidModelType, InvalidParameter
from .compiling import compile_like, own_objects
from .heads import Heads, heads_of
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
    _check_inputs(model, x)
    x = inputs_for(model, x)
    try:
        outputs = model(map_arrays(_symbol, x))
    except Exception as error:
        shapes = map_arrays(lambda array: tuple(array.shape[1:]), x)
        words = _COLOURS.sub("", str(error))
        raise InvalidModel(
            f"The model does not accept X with rows of shape {shapes}: {words}"
        ) from error
    return heads_of(model, outputs)


def inputs_for(model: keras.Model, x: Arrays) -> Arrays:
    """x as the model takes it: one array alone where it has one input, whatever X came in."""
    declared = _declared(model)
    alone = declared is not None and not isinstance(declared, dict | list | tuple)
    if alone and isinstance(x, dict | tuple) and len(x) == 1:
        return x[0] if isinstance(x, tuple) else next(iter(x.values()))
    return x


def input_shapes(model: keras.Model) -> Any:
    """Shapes of a row as the model's inputs declare them (None where open), or None if unknown."""
    declared = _declared(model)
    if declared is None:
        return None
    if isinstance(declared, list | tuple):
        names = [tensor.name for tensor in declared]
        return {name: tuple(t.shape[1:]) for name, t in zip(names, declared, strict=True)}
    return map_arrays(lambda tensor: tuple(tensor.shape[1:]), declared)


def copy_of_model(model: keras.Model, with_weights: bool) -> keras.Model:
    """A clone with new initial weights, or with the model's own; compiled as the model is."""
    try:
        if _has_inputs(model) or isinstance(model, keras.Sequential):
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
    if isinstance(layer, keras.Model) and _has_inputs(layer):
        return keras.models.clone_model(layer, clone_function=_clone_layer)
    return type(layer).from_config(layer.get_config())


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


def _symbol(array: Any) -> keras.KerasTensor:
    dtype = in_keras_floats(array[:0]).dtype if not hasattr(array, "toarray") else None
    name = keras.config.floatx() if dtype is None else _standard(dtype.name)
    return keras.KerasTensor((None, *array.shape[1:]), dtype=name)


def _standard(name: str) -> str:
    return "string" if name.startswith(("str", "bytes")) else name


def _has_inputs(model: keras.Model) -> bool:
    """Whether the model is a graph from declared inputs, as functional models are."""
    return inspect.isdatadescriptor(getattr(type(model), "input", None)) and bool(
        getattr(model, "inputs", None)
    )


def _declared(model: keras.Model) -> Any:
    """The symbolic inputs of a model in its own structure, or None where it declares none."""
    if not _has_inputs(model):
        return None
    # A Sequential's `input` is that of its first call.
    declared = model.inputs if isinstance(model, keras.Sequential) else model.input
    single = isinstance(declared, list | tuple) and len(declared) == 1
    return declared[0] if single else declared


def _check_inputs(model: keras.Model, x: Arrays) -> None:
    declared = list(model.inputs) if _has_inputs(model) else []
    if not declared:
        return
    names = [tensor.name for tensor in declared]
    structure = _declared(model)
    wanted = set(structure) if isinstance(structure, dict) else set(names)
    if isinstance(x, dict):
        if set(x) != wanted and (len(x) > 1 or len(wanted) > 1):
            raise InvalidModel(
                f"The model has the inputs {sorted(wanted)}, but X has {sorted(x)}. "
                "Name the arrays of Inputs(...) as the model names its inputs."
            )
    elif (len(x) if isinstance(x, tuple) else 1) != len(declared):
        count = len(x) if isinstance(x, tuple) else 1
        raise InvalidModel(
            f"The model has {len(declared)} inputs {names}, but X has {count} "
            f"array{'s' * (count > 1)}. Use amalthea.Inputs({names[0]}=..., ...)."
        )
    elif not isinstance(x, tuple):
        _check_shape(declared[0], x)


def _check_shape(tensor: Any, array: Any) -> None:
    wanted, came = tuple(tensor.shape[1:]), tuple(array.shape[1:])
    same_rank = len(wanted) == len(came)
    if same_rank and any(w not in (None, c) for w, c in zip(wanted, came, strict=True)):
        raise InvalidModel(
            f"The model takes rows of shape {wanted}, but X has rows of shape {came}. Build it "
            "for meta['n_features_in_'] features, or leave the input shape out."
        )
