"""Where each parameter goes: the builder, the estimator itself, or a routed destination.

A name may be plain (``units``, ``epochs``) or carry a destination (``model__units``,
``optimizer__learning_rate``, ``fit__epochs``). A plain name that both the builder and the
estimator declare is one parameter, and its value goes to both.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import DuplicateParameter, UnknownParameter

DESTINATIONS = (
    "model",
    "compile",
    "optimizer",
    "loss",
    "metrics",
    "callbacks",
    "fit",
    "predict",
)
FIT_ARGUMENTS = frozenset(
    {
        "batch_size",
        "callbacks",
        "class_weight",
        "epochs",
        "shuffle",
        "validation_batch_size",
        "validation_freq",
        "validation_split",
        "verbose",
    }
)
PREDICT_ARGUMENTS = frozenset({"batch_size", "callbacks", "verbose"})
COMPILE_ARGUMENTS = frozenset(
    {
        "auto_scale_loss",
        "jit_compile",
        "loss",
        "loss_weights",
        "metrics",
        "optimizer",
        "run_eagerly",
        "steps_per_execution",
        "weighted_metrics",
    }
)
_ARGUMENTS = {
    "fit": FIT_ARGUMENTS,
    "predict": PREDICT_ARGUMENTS,
    "compile": COMPILE_ARGUMENTS,
}


@dataclass(frozen=True)
class Routes:
    """Values by destination. ``own`` are the estimator's own parameters."""

    own: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    compile: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, Any] = field(default_factory=dict)
    predict: dict[str, Any] = field(default_factory=dict)


def route(
    given: Mapping[str, Any],
    *,
    own: Collection[str],
    declared: Collection[str],
    routed: Collection[str] = (),
    takes_any: bool = False,
) -> Routes:
    """Send each given value to where it belongs.

    Parameters
    ----------
    given : mapping
        The parameters that the user gave, by name.
    own : collection of str
        Names of the estimator's own parameters.
    declared : collection of str
        Names of the parameters that the builder declares.
    routed : collection of str
        Names that the builder takes behind ``model__``; by default those declared.
    takes_any : bool
        Whether the builder has ``**kwargs``.

    Raises
    ------
    UnknownParameter
        For a name that has no destination; the message lists the names and the nearest one.
    DuplicateParameter
        For two names of one destination (``units`` and ``model__units``).
    """
    routes = Routes()
    for name, value in given.items():
        destination, argument = _split(name, declared)
        if destination:
            _check_argument(name, destination, argument, routed or declared, takes_any, own)
            getattr(routes, destination)[argument] = value
            continue
        in_builder = name in declared or (takes_any and name not in own)
        if in_builder:
            routes.model.setdefault(name, value)
        if name in own:
            routes.own[name] = value
        if not in_builder and name not in own:
            raise _unknown(name, own, declared)
    _check_duplicates(given, routes)
    return routes


def below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values whose names start with ``prefix__``, without it."""
    start = f"{prefix}__"
    return {name[len(start) :]: value for name, value in values.items() if name.startswith(start)}


def _split(name: str, declared: Collection[str]) -> tuple[str, str]:
    destination, separator, argument = name.partition("__")
    if name in declared or not separator or destination not in DESTINATIONS:
        return "", name
    return destination, argument


def _check_argument(
    name: str,
    destination: str,
    argument: str,
    declared: Collection[str],
    takes_any: bool,
    own: Collection[str],
) -> None:
    if destination == "model" and not takes_any and argument not in declared:
        raise _unknown(name, own, declared)
    known = _ARGUMENTS.get(destination)
    if known is not None and argument.partition("__")[0] not in known:
        names = [f"{destination}__{known_name}" for known_name in sorted(known)]
        raise UnknownParameter(
            f"Unknown parameter {name!r}. {destination}__ takes: {', '.join(names)}."
            + nearest(name, names)
        )


def _check_duplicates(given: Mapping[str, Any], routes: Routes) -> None:
    for destination in ("model", "fit", "compile"):
        for argument in getattr(routes, destination):
            if argument in given and f"{destination}__{argument}" in given:
                raise DuplicateParameter(
                    f"Parameter {argument!r} is given twice, as {argument}="
                    f"{given[argument]!r} and as {destination}__{argument}="
                    f"{given[f'{destination}__{argument}']!r}. Give one of them."
                )


def _unknown(name: str, own: Collection[str], declared: Collection[str]) -> UnknownParameter:
    known = {*declared, *own, *_rerouted(name)}
    prefixes = ", ".join(f"{destination}__" for destination in DESTINATIONS)
    builder = ", ".join(sorted(declared)) or "none"
    return UnknownParameter(
        f"Unknown parameter {name!r}.{nearest(name.removeprefix('model__'), known)} The builder "
        f"declares: {builder}. The estimator has: {', '.join(sorted(own))}. Routed names start "
        f"with {prefixes}."
    )


def _rerouted(name: str) -> list[str]:
    """What the name would be if its prefix, or the underscores after it, were right."""
    prefix, separator, argument = name.partition("__")
    if separator:
        close = difflib.get_close_matches(prefix, DESTINATIONS, n=1)
        return [f"{destination}__{argument}" for destination in close]
    starts = [d for d in DESTINATIONS if name.startswith(f"{d}_")]
    return [f"{d}__{name[len(d) + 1 :]}" for d in starts]


def nearest(name: str, known: Collection[str]) -> str:
    """A sentence with the known name that is most like this one, if one is."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
