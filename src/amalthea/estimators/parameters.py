"""The parameters of an estimator: its own, and every one that its builder declares.

One store holds what the user gave, by name. Everything else is a default, and is looked up when
it is asked for: the builder's default where the builder declares the name, else the estimator's.
So ``get_params`` knows what the builder would do, a grid may name a builder's parameter that the
constructor never mentioned, and a change of ``model`` changes the defaults with it.
"""

from __future__ import annotations

import functools
import inspect
import uuid
from collections.abc import Callable
from typing import Any, Self

import keras
from sklearn.base import BaseEstimator

from ..privates import mark_as_set
from .signatures import NO_PARAMETERS, REQUIRED, BuilderSignature, signature_of


class BuilderParameters(BaseEstimator):
    """An estimator whose parameters include those of its builder."""

    _given: dict[str, Any]
    _named: frozenset[str]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        # What the caller names is given, also where it equals a default: only here can the two
        # be told apart, and `set by the user` decides whether the builder's default wins.
        self.__dict__.update(_given={}, _named=frozenset(kwargs))
        return self

    def _keep(self, arguments: dict[str, Any]) -> None:
        """Store the constructor's arguments: those named by the caller, or not at their default."""
        named = self.__dict__.pop("_named", frozenset())
        defaults = _own_defaults(type(self))
        for name, value in arguments.items():
            if name in named or value is not defaults.get(name, REQUIRED):
                self._given[name] = value
        if named >= defaults.keys():  # everything at once, as get_params gives it
            given, self._given = self._given, {}
            builder = {name: given[name] for name in ("model", "build_fn") if name in given}
            self._given = {name: value for name, value in builder.items() if value is not None}
            self.set_params(**given)

    @classmethod
    def own_parameters(cls) -> dict[str, Any]:
        """The parameters of the constructor and its bases with their defaults."""
        return dict(_own_defaults(cls))

    def _builder(self) -> Any:
        """What makes the model: a callable, a model, or whatever else stands in its place."""
        for name in ("model", "build_fn"):
            if self._given.get(name) is not None:
                return self._given[name]
        if hasattr(type(self), "build_model"):  # a subclass's own builder
            return self.build_model
        return None

    def _signature(self) -> BuilderSignature:
        builder = self._builder()
        if builder is None or isinstance(builder, keras.Model) or not callable(builder):
            return NO_PARAMETERS
        return signature_of(builder)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of the estimator and of its builder.

        Parameters
        ----------
        deep : bool, default=True
            Include the builder's parameters that nobody gave, with their defaults.

        Returns
        -------
        dict
            Values by name. A parameter that the builder requires and nobody gave is ``None``.
        """
        values = self.own_parameters()
        for name, default in self._signature().by_name.items():
            known = default is not REQUIRED
            if name in values:
                values[name] = default if known else values[name]
            elif deep:
                values[name] = default if known else None
        values.update(self._given)
        accepted = _accepted(type(self))
        names = sorted(values if accepted is None else accepted)
        return {name: values[name] for name in names if name in values}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Parameters
        ----------
        **params : dict
            Any names: those of the estimator, of the builder, or routed ones such as
            ``optimizer__learning_rate``. They are checked in ``fit``, when the builder is known.

        Returns
        -------
        self
        """
        current = self.get_params(deep=False)
        if params.keys() >= current.keys():
            # Everything at once, as get_params gives it: what is at its default stays a default.
            own = self.own_parameters().keys() - self._given.keys()
            params = {n: v for n, v in params.items() if n not in own or v is not current[n]}
        self._given.update(params)
        return self

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and "_given" in self.__dict__:
            if name in self._given:
                return self._given[name]
            default = self._signature().by_name.get(name, REQUIRED)
            if default is REQUIRED:
                default = _own_defaults(type(self)).get(name, REQUIRED)
            if default is not REQUIRED:
                return default
        if hasattr(type(self), name):  # a property whose own error brought us here
            return object.__getattribute__(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _own_defaults(type(self)) or name in self._given or self._declares(name):
            self._given[name] = value
        else:
            super().__setattr__(name, value)

    def _declares(self, name: str) -> bool:
        return (
            not name.startswith("_")
            and not name.endswith("_")
            and (name in self._signature().by_name)
        )

    def __sklearn_clone__(self) -> Self:
        # A prebuilt model is never touched, so clones share it: a copy is slow, and impossible
        # for models with unregistered classes.
        shared = {n: v for n, v in self._given.items() if isinstance(v, keras.Model)}
        lean = object.__new__(type(self))
        given = {n: v for n, v in self._given.items() if n not in shared}
        lean.__dict__.update(self.__dict__, _given=given)
        clone = super(BuilderParameters, lean).__sklearn_clone__()
        # The constructor got every default as if it were given; keep only what really was.
        clone._given = {n: clone._given.get(n, value) for n, value in self._given.items()} | shared
        # Fits of one search descend from one clone of the user's estimator.
        clone._family = self.__dict__.get("_family") or uuid.uuid4().hex
        return clone

    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        return mark_as_set(super()._get_params_html(*args, **kwargs), self._given)


def _read_own_defaults(cls: type) -> dict[str, Any]:
    """Default of each named parameter in the constructors of a class and its bases."""
    defaults: dict[str, Any] = {}
    for parameters in reversed(_constructors(cls)):
        named = (p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
        defaults.update((p.name, None if p.default is p.empty else p.default) for p in named)
    return defaults


def _read_accepted(cls: type) -> frozenset[str] | None:
    """The names that the constructor takes; None for any, as with ``**kwargs``."""
    names: set[str] = set()
    for parameters in _constructors(cls):
        names |= {p.name for p in parameters}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return frozenset(names)
    return None


def _constructors(cls: Any) -> list[list[inspect.Parameter]]:
    """Parameters of the constructors of a class and its bases, nearest first, without self."""
    written = [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]
    return [list(inspect.signature(init).parameters.values())[1:] for init in written]


# Signatures are read once per class.
_own_defaults: Callable[[type], dict[str, Any]] = functools.cache(_read_own_defaults)
_accepted: Callable[[type], frozenset[str] | None] = functools.cache(_read_accepted)
