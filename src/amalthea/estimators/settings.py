"""The parameters of one fit, routed and checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from .. import arguments
from ..errors import DuplicateParameter, InvalidParameter
from ..routing import FIT_ARGUMENTS, Routes, below, nearest, route
from .parameters import BuilderParameters
from .signatures import BuilderSignature


@dataclass(frozen=True)
class Settings:
    """What one fit goes by."""

    builder: Any
    signature: BuilderSignature
    routes: Routes
    values: Mapping[str, Any]  # every parameter, with defaults, and `fit__` ones over them

    def given(self, name: str) -> bool:
        """Whether the user gave the estimator's own parameter, and no builder took it."""
        return name in self.routes.own and name not in self.signature.by_name

    @property
    def epochs(self) -> int:
        return arguments.whole_number("epochs", self.values["epochs"])

    def batch_size(self, n_samples: int) -> int:
        return arguments.batch_size("batch_size", self.values["batch_size"], n_samples)

    def validation_batch_size(self, n_samples: int) -> int:
        value = self.values["validation_batch_size"]
        if value is None:
            return self.batch_size(n_samples)
        return arguments.batch_size("validation_batch_size", value, n_samples)

    @property
    def shuffle(self) -> bool:
        return arguments.flag("shuffle", self.values["shuffle"])

    @property
    def early_stopping(self) -> bool:
        return arguments.flag("early_stopping", self.values["early_stopping"])

    @property
    def has_callbacks(self) -> bool:
        """Whether the fit has callbacks, or parameters that may turn out to be for them."""
        nested = self.routes.callbacks or below("callbacks", self.routes.fit)
        return bool(nested) or self.values["callbacks"] is not None or self.early_stopping

    @property
    def validation_share(self) -> float:
        """The share of the rows that is kept for validation; 0 for none."""
        split = arguments.fraction("validation_split", self.values["validation_split"])
        share = self.values["validation_fraction"]
        if share is not None:
            share = arguments.fraction("validation_fraction", share)
        return split or (share or 0.0 if self.early_stopping else 0.0)

    def check(self) -> None:
        """Look at every value once, so that a wrong one is told before any work is done."""
        _ = self.epochs, self.batch_size(1), self.validation_batch_size(1), self.shuffle
        _ = self.validation_share
        arguments.whole_number("patience", self.values["patience"])
        arguments.flag("restore_best_weights", self.values["restore_best_weights"])
        arguments.flag("pretrained", self.values["pretrained"])
        arguments.flag("warm_start", self.values["warm_start"])
        arguments.whole_number("validation_freq", self.values.get("validation_freq", 1), least=1)


def read_settings(estimator: BuilderParameters, overrides: Mapping[str, Any]) -> Settings:
    """The settings of a fit; ``overrides`` are arguments of this call of ``fit`` alone.

    Raises
    ------
    InvalidParameter, UnknownParameter, DuplicateParameter
    TypeError
        For an override that ``fit`` does not take.
    """
    unexpected = sorted(set(overrides) - FIT_ARGUMENTS)
    if unexpected:
        raise TypeError(
            f"fit() got an unexpected argument {unexpected[0]!r}. Beside X, y, sample_weight and "
            f"validation_data it takes: {', '.join(sorted(FIT_ARGUMENTS))}."
            + nearest(unexpected[0], FIT_ARGUMENTS)
        )
    builder, signature = _builder_of(estimator), estimator._signature()
    own = estimator.own_parameters()
    routes = route(
        estimator._given,
        own=own,
        declared=signature.by_name,
        routed=signature.defaults,
        takes_any=signature.takes_any,
    )
    for name in own.keys() & signature.by_name.keys() & set(signature.required()):
        routes.model.setdefault(name, own[name])  # required and shared: the estimator's default
    _check_required(type(estimator).__name__, builder, signature, routes)
    # The builder's default of a shared name stands in the estimator's parameters already.
    values = {**own, **_shared_defaults(own, signature), **routes.own}
    values.update({n: v for n, v in routes.fit.items() if "__" not in n})
    settings = Settings(builder, signature, routes, {**values, **overrides})
    settings.check()
    return settings


def _builder_of(estimator: BuilderParameters) -> Any:
    model, build_fn = estimator.model, estimator.build_fn
    if model is not None and build_fn is not None:
        raise DuplicateParameter("The builder is given twice, as model= and as build_fn=.")
    builder = estimator._builder()
    if builder is None:
        raise InvalidParameter(
            f"{type(estimator).__name__} needs model=, a function that returns a Keras model; "
            "got None. Or subclass it and define build_model(self)."
        )
    if not callable(builder):
        raise InvalidParameter(
            "model must be a function that returns a Keras model, or a keras.Model; got "
            f"{builder!r}."
        )
    return builder


def _shared_defaults(own: Mapping[str, Any], signature: BuilderSignature) -> dict[str, Any]:
    required = signature.required()
    return {n: d for n, d in signature.by_name.items() if n in own and n not in required}


def _check_required(kind: str, builder: Any, signature: BuilderSignature, routes: Routes) -> None:
    if isinstance(builder, keras.Model):
        return
    missing = [name for name in signature.required() if name not in routes.model]
    if missing:
        raise InvalidParameter(
            f"{builder_name(builder)} needs a value for {', '.join(missing)}: "
            f"write {kind}({builder_name(builder)}, {missing[0]}=...)."
        )


def builder_name(builder: Any) -> str:
    for candidate in (builder, getattr(builder, "func", None), type(builder)):
        name = getattr(candidate, "__name__", None)
        if name:
            return str(name)
    return "model"
