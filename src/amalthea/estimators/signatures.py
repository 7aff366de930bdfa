"""What a builder declares: the names and defaults of its parameters."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras

_STATEFUL = (keras.optimizers.Optimizer, keras.metrics.Metric, keras.callbacks.Callback)
REQUIRED = inspect.Parameter.empty
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# Names that mean the estimator's own parameter alone: a builder means another thing by them.
_NOT_SHARED = ("model", "build_fn", "classes", "pretrained")
_ASKED_FOR = ("meta", "compile_kwargs")  # what the estimator supplies to builders that ask


@dataclass(frozen=True)
class BuilderSignature:
    """Parameters of a builder by name, with :data:`REQUIRED` for those without a default."""

    defaults: dict[str, Any]
    takes_any: bool = False
    asks_for: frozenset[str] = frozenset()

    @property
    def by_name(self) -> dict[str, Any]:
        """Parameters that go by their plain name; the rest is reached as ``model__name``."""
        return {name: d for name, d in self.defaults.items() if name not in _NOT_SHARED}

    def stateful(self) -> dict[str, Any]:
        """Defaults that are Keras objects with state of their own."""
        return {name: d for name, d in self.defaults.items() if isinstance(d, _STATEFUL)}

    def required(self) -> list[str]:
        return [name for name, default in self.defaults.items() if default is REQUIRED]


NO_PARAMETERS = BuilderSignature({})


def signature_of(builder: Callable[..., Any]) -> BuilderSignature:
    """What a builder declares; a plain function is looked at once, as long as it stays the same."""
    if type(builder) is not types.FunctionType or vars(builder) or builder.__kwdefaults__:
        return _read(builder)
    code, defaults, known = _known.get(builder, (None, None, NO_PARAMETERS))
    if code is not builder.__code__ or defaults is not builder.__defaults__:
        known = _read(builder)
        _known[builder] = builder.__code__, builder.__defaults__, known
    return known


_known: WeakKeyDictionary[Any, tuple[Any, Any, BuilderSignature]] = WeakKeyDictionary()


def _read(builder: Callable[..., Any]) -> BuilderSignature:
    try:
        parameters = inspect.signature(builder).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return NO_PARAMETERS
    named = [p for p in parameters if p.kind in _BY_NAME]
    return BuilderSignature(
        defaults={p.name: p.default for p in named if p.name not in _ASKED_FOR},
        takes_any=any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters),
        asks_for=frozenset(p.name for p in named if p.name in _ASKED_FOR),
    )
