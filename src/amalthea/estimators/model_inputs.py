"""What goes into a model: the inputs that it declares, and X in their form."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from ..engine.rows import Arrays, in_keras_types, map_arrays
from ..errors import InvalidModel


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


def symbol_like(array: Any) -> keras.KerasTensor:
    """A symbolic input for rows like those of the array."""
    dtype = in_keras_types(array[:0]).dtype if not hasattr(array, "toarray") else None
    name = keras.config.floatx() if dtype is None else _standard(dtype.name)
    return keras.KerasTensor((None, *array.shape[1:]), dtype=name)


def _standard(name: str) -> str:
    return "string" if name.startswith(("str", "bytes")) else name


def has_inputs(model: keras.Model) -> bool:
    """Whether the model is a graph from declared inputs, as functional models are."""
    return inspect.isdatadescriptor(getattr(type(model), "input", None)) and bool(
        getattr(model, "inputs", None)
    )


def _declared(model: keras.Model) -> Any:
    """The symbolic inputs of a model in its own structure, or None where it declares none."""
    if not has_inputs(model):
        return None
    # A Sequential's `input` is that of its first call.
    declared = model.inputs if isinstance(model, keras.Sequential) else model.input
    single = isinstance(declared, list | tuple) and len(declared) == 1
    return declared[0] if single else declared


def check_inputs(model: keras.Model, x: Arrays) -> None:
    """Refuse X that has other inputs than the model declares, or rows of another shape."""
    declared = list(model.inputs) if has_inputs(model) else []
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
