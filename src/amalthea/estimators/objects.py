"""Fresh optimizers, losses, metrics and callbacks from what the user wrote.

A user writes a name, a class, an instance, or a list or dict of them, and sets arguments with
nested parameters: ``optimizer__momentum``, ``metrics__0__threshold``,
``callbacks__stop__patience``, ``optimizer__learning_rate__decay_steps``. Whatever is written,
each fit gets objects of its own.
"""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from ..errors import InvalidParameter
from ..routing import below, nearest

Resolve = Callable[[str], Any]  # from a name to the class that it means


def fresh(argument: str, spec: Any, nested: Mapping[str, Any], resolve: Resolve) -> Any:
    """Make what ``spec`` describes, with the ``nested`` arguments.

    Parameters
    ----------
    argument : str
        The name of the parameter, for messages.
    spec : str, class, instance, list, tuple, dict or None
    nested : mapping
        Arguments by name; in a list by ``index__name``, in a dict by ``key__name``. A name without
        an index or key goes to every member.
    resolve : callable
        From a string to a class, needed only where a string has arguments.

    Raises
    ------
    InvalidParameter
        When an argument has nowhere to go, or is refused by what takes it.
    """
    if isinstance(spec, Mapping):
        return {
            key: fresh(f"{argument}__{key}", member, part, resolve)
            for key, (member, part) in _shares(argument, dict(spec), nested).items()
        }
    if isinstance(spec, list | tuple):
        members = {str(i): member for i, member in enumerate(spec)}
        return [
            fresh(f"{argument}__{key}", member, part, resolve)
            for key, (member, part) in _shares(argument, members, nested).items()
        ]
    if isinstance(spec, str) and nested:
        spec = _call(argument, lambda: resolve(spec), {})
    if inspect.isclass(spec):
        return _call(argument, spec, _arguments(argument, nested, resolve, {}))
    if nested:
        config = quietly(spec.get_config) if hasattr(spec, "get_config") else {}
        return _with_arguments(argument, spec, _arguments(argument, nested, resolve, config))
    return copy_of(spec)


def plain(value: Any) -> Any:
    """NumPy's scalars, as grids made with ``np.arange`` have them, as Python's: Keras checks."""
    return value.item() if isinstance(value, np.generic) else value


def copy_of(thing: Any) -> Any:
    """An independent copy of what can hold state; strings, functions and losses are stateless."""
    if isinstance(thing, keras.optimizers.Optimizer):
        return type(thing).from_config(quietly(thing.get_config))
    if isinstance(thing, keras.callbacks.Callback):
        model = getattr(thing, "model", None)
        return copy.deepcopy(thing, {id(model): model})
    if isinstance(thing, keras.metrics.Metric):
        return copy.deepcopy(thing)
    return thing


def quietly(config: Callable[[], Any]) -> Any:
    """Read a configuration without the warnings that only its writer should get."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return config()


def _shares(
    argument: str, members: dict[str, Any], nested: Mapping[str, Any]
) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Each member with its part of the nested arguments."""
    parts = {key: below(str(key), nested) for key in members}
    replaced = {key: nested.get(str(key), member) for key, member in members.items()}
    for name, value in nested.items():
        head = name.partition("__")[0]
        if head in parts:
            continue
        if head.isdigit() or not members:
            raise InvalidParameter(
                f"{argument}__{name}={value!r} has nowhere to go: {argument} has the members "
                f"{list(members)}."
            )
        for part in parts.values():
            part.setdefault(name, value)
    return {key: (replaced[key], part) for key, part in parts.items()}


def _arguments(
    argument: str, nested: Mapping[str, Any], resolve: Resolve, config: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of one object; an argument with nested parameters is itself made first.

    Where that argument is not given, the one in the ``config`` of an instance is meant.
    """
    made = {name: value for name, value in nested.items() if "__" not in name}
    for head in sorted({name.partition("__")[0] for name in nested if "__" in name}):
        if head not in made and isinstance(config.get(head), Mapping):
            made[head] = keras.saving.deserialize_keras_object(config[head])
        if head not in made:
            raise InvalidParameter(
                f"{argument}__{head}__... has nowhere to go: {argument}__{head} is not given."
            )
        made[head] = fresh(f"{argument}__{head}", made[head], below(head, nested), resolve)
    return {name: plain(_made(value)) for name, value in made.items()}


def _made(value: Any) -> Any:
    """A class given as an argument (a learning-rate schedule, say) is meant to be made."""
    return value() if _is_schedule_class(value) else value


def _is_schedule_class(value: Any) -> bool:
    schedule = keras.optimizers.schedules.LearningRateSchedule
    return inspect.isclass(value) and issubclass(value, schedule)


def _with_arguments(argument: str, thing: Any, arguments: dict[str, Any]) -> Any:
    """A copy of an instance, or a function, with other arguments."""
    if thing is None:
        raise InvalidParameter(
            f"{argument}__{next(iter(arguments))} has nowhere to go: {argument} is None."
        )
    if isinstance(thing, keras.callbacks.Callback):
        return _callback_with(argument, copy_of(thing), arguments)
    if hasattr(thing, "get_config") and hasattr(type(thing), "from_config"):
        config = quietly(thing.get_config)
        for name in sorted(arguments.keys() - config.keys()):
            raise InvalidParameter(
                f"{argument}__{name}={arguments[name]!r} has nowhere to go: {type(thing).__name__} "
                f"takes {', '.join(sorted(config))}.{nearest(name, config)}"
            )
        kind = type(thing)
        return _call(argument, lambda **given: kind.from_config({**config, **given}), arguments)
    if callable(thing):
        bound = functools.partial(thing, **arguments)
        functools.update_wrapper(bound, thing)
        return bound
    raise InvalidParameter(f"{argument}={thing!r} takes no arguments; got {sorted(arguments)}.")


def _callback_with(
    argument: str, callback: keras.callbacks.Callback, arguments: dict[str, Any]
) -> keras.callbacks.Callback:
    for name, value in arguments.items():
        if not hasattr(callback, name):
            raise InvalidParameter(
                f"{argument}__{name} has nowhere to go: {type(callback).__name__} has no "
                f"attribute {name!r}. Give the class instead of an instance, and its arguments."
            )
        setattr(callback, name, value)
    return callback


def _call(argument: str, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    try:
        return function(**arguments)
    except (TypeError, ValueError) as error:
        names = ", ".join(f"{argument}__{name}={value!r}" for name, value in arguments.items())
        raise InvalidParameter(
            f"{argument} could not be made with {names or 'its defaults'}: {error}"
        ) from error
