"""The model of a fitted estimator: its own, or one that is made when somebody asks for it.

The fits of one candidate with one seed begin with equal models, since the builder runs under the
seed, and so do those of candidates that differ in epochs or the like. While such fits wait to be
trained together, the builder runs once for all of them: they share its model, which nobody changes,
and each holds what training made of the values. When the model itself is asked for, which in a
search is seldom, the builder runs again, and has to make the same.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Hashable, Mapping
from typing import Any
from weakref import WeakValueDictionary

import keras
import numpy as np

from ..engine.likeness import Likeness, likeness
from ..engine.requests import FitResult
from ..engine.seeding import Generators, seeded
from ..engine.steps import put_state, variables_of
from ..errors import InvalidModel
from ..routing import FIT_ARGUMENTS
from .construction import Construction, Made
from .settings import builder_name

Weights = tuple[Any, Any]  # values of trainable and of other variables
_OF_FIT_ALONE = FIT_ARGUMENTS - {"callbacks"}  # which may ask for a model of their own
_shared: WeakValueDictionary[Hashable, Made] = WeakValueDictionary()


class HeldModel:
    """A model, and what was learned where that is not in it.

    Parameters
    ----------
    made : Made
        What the builder made.
    """

    shared = False

    def __init__(self, made: Made) -> None:
        self.made = made  # keeps it alive for others to share

    @property
    def like(self) -> keras.Model:
        """A model of the same layers."""
        return self.made.model

    @property
    def weights(self) -> Weights | None:
        """The values to predict with; None for those that ``like`` has."""
        return None

    @property
    def likeness(self) -> Likeness | None:
        """That of ``like``, where it is known and will stay."""
        return None

    def learn(self, result: FitResult) -> None:
        """Take what training has made of the values."""
        raise NotImplementedError

    def model(self) -> keras.Model:
        """The trained model."""
        raise NotImplementedError


class OwnModel(HeldModel):
    """The estimator's own; training changes it in place."""

    def model(self) -> keras.Model:
        return self.made.model


class SharedModel(HeldModel):
    """One that several fits start from; nobody changes it."""

    def __init__(
        self, made: Made, construction: Construction, seed: int, key: Hashable, *, is_new: bool
    ) -> None:
        super().__init__(made)
        self._construction: Construction | None = construction
        self._seed, self._key = seed, key
        self._learned: FitResult | None = None
        self._is_new = is_new  # no other fit has seen it

    @property
    def shared(self) -> bool:  # type: ignore[override]
        return self._construction is not None

    @property
    def weights(self) -> Weights | None:
        if self._learned is None or self._learned.state is None:
            return None
        return self._learned.state.trainable, self._learned.state.non_trainable

    @property
    def likeness(self) -> Likeness | None:
        return self.made.likeness if self.shared and not self.made.owned else None

    def learn(self, result: FitResult) -> None:
        self._learned = result
        self._is_new = False
        _shared.pop(self._key, None)  # who comes later finds another world, maybe

    def model(self) -> keras.Model:
        construction, self._construction = self._construction, None
        if construction is not None:
            self._make_own(construction)
        return self.made.model

    def _make_own(self, construction: Construction) -> None:
        if self._is_new:
            _shared.pop(self._key, None)
            return
        model, before = self._same_again(construction), self.made.model
        result, self._learned = self._learned, None
        if result is not None and result.state is not None:
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            put_state(model, result.state)
            model.history = keras.callbacks.History()
            model.history.set_model(model)
            model.history.history, model.history.epoch = dict(result.history), list(result.epochs)
        else:
            for name in ("trainable_variables", "non_trainable_variables"):
                for ours, theirs in zip(getattr(model, name), getattr(before, name), strict=True):
                    ours.assign(theirs.value)
        self.made = Made(model, self.made.heads, self.made.losses)

    def _same_again(self, construction: Construction) -> keras.Model:
        """What the builder makes, if that is like the shared model; else that one, but only once.

        Raises
        ------
        InvalidModel
            When the builder makes another model now, and the shared one has an owner already.
        """
        with seeded(self._seed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the builder gave its warnings in fit
            try:
                model = construction.make().model
            except Exception:
                model = None
        if model is not None and _likeness(model) == self.made.likeness:
            return model
        if self.made.owned:
            raise InvalidModel(
                f"The builder ({builder_name(construction.settings.builder)}) makes another model "
                "now than it did in fit, so that model_ cannot be made."
            )
        self.made.owned = True
        return self.made.model


def hold_model(construction: Construction, seed: int, shared: bool) -> HeldModel:
    """Have the builder make the model under the seed, or share one that is not yet trained.

    Parameters
    ----------
    construction : Construction
    seed : int
        The seed of the builder.
    shared : bool
        Whether the trainer can train a model without changing it.
    """
    key = _key(construction, seed) if shared else None
    made = None if key is None else _shared.get(key)
    if made is not None:
        return SharedModel(made, construction, seed, key, is_new=False)
    with seeded(seed):
        made = construction.make()
        made.generators = Generators.now()
    made.likeness = None if key is None else _likeness(made.model)
    if made.likeness is None:  # nobody could tell that it is the same when it is made again
        return OwnModel(made)
    _shared[key] = made
    return SharedModel(made, construction, seed, key, is_new=True)


def _likeness(model: keras.Model) -> Likeness | None:
    return likeness(model, variables_of(model))


def _key(construction: Construction, seed: int) -> Hashable | None:
    """Equal where the builder, called under the seed, makes the same model."""
    settings, target = construction.settings, construction.target
    routes = settings.routes
    if not isinstance(settings.values["random_state"], int) or settings.early_stopping:
        return None
    about_data = construction.meta if "meta" in settings.signature.asks_for else None
    try:
        return (
            seed,
            _plain(settings.builder),
            _plain(_of_model(settings.values)),
            _plain({**vars(routes), "own": _of_model(routes.own), "fit": _of_model(routes.fit)}),
            _plain(about_data),
            _plain(_shapes(construction.template)),
            type(target),
            _plain(target.describe(0)),
            str(construction.policy.get_config() if construction.policy else None),
        )
    except TypeError:
        return None


def _of_model(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that a model may depend on; what its builder wants of the others is routed to it."""
    return {name: value for name, value in values.items() if name not in _OF_FIT_ALONE}


_SCALARS = {type(None), bool, int, float, str, bytes}  # the most frequent, told at once


def _plain(value: Any) -> Hashable:
    """A value that compares by what it is; objects with a state are refused by a TypeError."""
    if type(value) in _SCALARS or isinstance(value, bool | int | float | str | bytes):
        return type(value), value
    if isinstance(value, dict):
        return tuple((str(name), _plain(part)) for name, part in value.items())
    if isinstance(value, list | tuple):
        return type(value), tuple(_plain(part) for part in value)
    if isinstance(value, np.generic):
        return type(value), value.tobytes()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, type | types.FunctionType | np.dtype):
        return value
    raise TypeError(f"{value!r} may have a state")


def _shapes(template: Any) -> Any:
    if isinstance(template, dict):
        return {name: _shapes(array) for name, array in template.items()}
    if isinstance(template, list | tuple):
        return [_shapes(array) for array in template]
    return [list(template.shape), str(template.dtype)]
