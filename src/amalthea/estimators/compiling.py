"""From a built model to a compiled one: the user's optimizer, loss and metrics, or chosen ones."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from ..engine.rows import Arrays, map_arrays
from ..errors import InvalidModel, InvalidParameter
from ..routing import COMPILE_ARGUMENTS
from . import losses
from .heads import Heads
from .objects import Resolve, copy_of, fresh, plain, quietly
from .settings import Settings

_PARTS = ("optimizer", "loss", "metrics")
_SHORT_METRICS = ("accuracy", "acc", "crossentropy", "ce")  # their meaning depends on the output


def compile_arguments(settings: Settings) -> dict[str, Any]:
    """The arguments of ``keras.Model.compile``, made fresh from the parameters."""
    extras = {n: v for n, v in settings.routes.compile.items() if n in COMPILE_ARGUMENTS}
    parts = {
        part: fresh(part, settings.values[part], getattr(settings.routes, part), _RESOLVE[part])
        for part in _PARTS
        if part not in extras
    }
    if parts.get("metrics") is not None and not isinstance(parts["metrics"], list | dict):
        parts["metrics"] = [parts["metrics"]]
    _check_metrics(parts.get("metrics"))
    return {**parts, **extras}


def own_objects(values: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """A builder's arguments with objects of this fit's own in place of shared ones.

    An optimizer, loss or metric that the builder takes is made with its nested arguments; a
    string stays one, since builders compare it, and its arguments are set after ``compile``.
    """
    made = {}
    for name, value in values.items():
        if name in _PARTS and value is not None and not isinstance(value, str):
            made[name] = fresh(name, value, getattr(settings.routes, name), _RESOLVE[name])
        elif isinstance(value, list | dict | set):  # the builder may take it apart
            made[name] = copy.deepcopy(value)
        else:
            made[name] = plain(copy_of(value))
    return made


def ensure_compiled(
    model: keras.Model,
    settings: Settings,
    choose_loss: Callable[[], Any],
    adds_loss: Callable[[], bool],
) -> None:
    """Compile the model, or set in a compiled one what the user asked for.

    Raises
    ------
    InvalidParameter
        When a parameter cannot be brought into what the builder compiled.
    InvalidModel
        When there is no optimizer.
    """
    if not model.compiled:
        given = compile_arguments(settings)
        if given["loss"] is None and needs_loss(model):
            given["loss"] = choose_loss()
        _compile(model, given)
        return
    changes = _changes(model, settings)
    if model.loss is None and "loss" not in changes and needs_loss(model) and not adds_loss():
        changes["loss"] = choose_loss()
    if changes:
        _recompile(model, model, changes)
    if model.optimizer is None:
        raise InvalidModel("The builder compiled the model without an optimizer.")


def compile_like(model: keras.Model, compiled: keras.Model) -> None:
    """Compile ``model`` as ``compiled`` is, with an optimizer of its own."""
    _recompile(model, compiled, {"optimizer": copy_of(compiled.optimizer), "loss": compiled.loss})


def head_losses(model: keras.Model, heads: Heads) -> list[Any]:
    """The loss of each output."""
    loss = model.loss
    if isinstance(loss, dict):
        return [loss.get(head.name) or loss.get(key) for head, key in _named(heads)]
    if isinstance(loss, list | tuple):
        return list(loss) if len(loss) == len(heads) else [loss[0]] * len(heads)
    return [loss] * len(heads)


def _named(heads: Heads) -> list[tuple[Any, Any]]:
    keys = heads.keys or [head.name for head in heads.outputs]
    return list(zip(heads.outputs, keys, strict=True))


def _changes(model: keras.Model, settings: Settings) -> dict[str, Any]:
    """What the parameters say beyond what the builder has been told."""
    if "compile_kwargs" in settings.signature.asks_for:
        return {}
    changes = {n: v for n, v in settings.routes.compile.items() if n in COMPILE_ARGUMENTS}
    for part in _PARTS:
        nested, given = getattr(settings.routes, part), settings.given(part)
        if not given and not nested:
            continue
        spec = settings.values[part] if given else _current(model, part)
        changes[part] = fresh(part, spec, nested, _RESOLVE[part])
    if "optimizer" in changes:
        changes["optimizer"] = _scaled_like(model.optimizer, changes["optimizer"])
    _check_metrics(changes.get("metrics"))
    return changes


def _current(model: keras.Model, part: str) -> Any:
    if part == "metrics":
        return _compiled_arguments(model, skip=("optimizer", "loss")).get("metrics")
    value = getattr(model, part)
    wrapped = isinstance(value, keras.optimizers.LossScaleOptimizer)
    return value.inner_optimizer if wrapped else value


def _recompile(model: keras.Model, source: keras.Model, changes: dict[str, Any]) -> None:
    """Compile with the arguments that ``source`` was compiled with, but for the changes."""
    try:
        kept = _compiled_arguments(source, skip=("optimizer", "loss", *changes))
    except InvalidParameter:
        if changes.keys() != {"optimizer"} or model is not source:
            raise
        _replace_optimizer(model, changes["optimizer"])
        return
    own = {"optimizer": source.optimizer, "loss": source.loss}
    _compile(model, {**own, **kept, **changes})


def _scaled_like(before: Any, optimizer: Any) -> Any:
    """Scale the loss in the new optimizer as the builder did in the old one."""
    scaling = keras.optimizers.LossScaleOptimizer
    if not isinstance(before, scaling) or isinstance(optimizer, scaling):
        return optimizer
    return scaling(
        keras.optimizers.get(optimizer),
        initial_scale=before.initial_scale,
        dynamic_growth_steps=before.dynamic_growth_steps,
    )


def _replace_optimizer(model: keras.Model, optimizer: Any) -> None:
    """Only the optimizer changes, and what else was compiled cannot be written out and read."""
    model.optimizer = keras.optimizers.get(optimizer)


def _compiled_arguments(model: keras.Model, skip: tuple[str, ...]) -> dict[str, Any]:
    config = {n: v for n, v in quietly(model.get_compile_config).items() if n not in skip}
    try:
        return dict(keras.saving.deserialize_keras_object(config))
    except (TypeError, ValueError) as error:
        raise InvalidParameter(
            "The builder compiles the model with objects that cannot be copied, so optimizer, "
            "loss or metrics cannot be changed from outside. Let the builder declare them as "
            f"parameters, or leave compile() to the estimator. ({error})"
        ) from error


def _compile(model: keras.Model, given: dict[str, Any]) -> None:
    try:
        model.compile(**given)
    except (KeyError, TypeError, ValueError) as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise InvalidParameter(f"The model cannot be compiled with {shown}: {error}") from error


def needs_loss(model: keras.Model) -> bool:
    """Whether the model trains by Keras's own rule, which needs a loss."""
    kind = type(model)
    return (
        kind.compute_loss == keras.Model.compute_loss and kind.train_step == keras.Model.train_step
    )


def _check_metrics(metrics: Any) -> None:
    """Keras looks at the names of metrics only when training has begun."""
    if isinstance(metrics, dict | list | tuple):
        for member in metrics.values() if isinstance(metrics, dict) else metrics:
            _check_metrics(member)
    elif isinstance(metrics, str) and metrics not in _SHORT_METRICS:
        try:
            keras.metrics.get(metrics)
        except ValueError as error:
            raise InvalidParameter(f"metrics: {metrics!r} is no metric Keras knows.") from error


def adds_loss(model: keras.Model, template: Arrays) -> bool:
    """Whether a layer adds a loss of its own, beside the regularisers of weights.

    Only a real call can tell: one row of zeros.
    """
    model(map_arrays(lambda array: np.zeros((1, *array.shape[1:]), array.dtype), template))
    regularised = [v for v in model.trainable_variables if v.regularizer is not None]
    return len(model.losses) > len(regularised)


def _class_of_optimizer(name: str) -> Any:
    return type(keras.optimizers.get(name))


def _class_of_metric(name: str) -> Any:
    if name in _SHORT_METRICS:
        raise InvalidParameter(
            f"metrics: {name!r} means another metric for each kind of output, so it takes no "
            "arguments. Name the class, such as keras.metrics.SparseCategoricalAccuracy."
        )
    metric = keras.metrics.get(name)
    if inspect.isfunction(metric):
        camel = metric.__name__.title().replace("_", "")
        return getattr(keras.metrics, camel, metric)
    return metric if inspect.isclass(metric) else type(metric)


_RESOLVE: dict[str, Resolve] = {
    "optimizer": _class_of_optimizer,
    "loss": losses.class_for,
    "metrics": _class_of_metric,
}
