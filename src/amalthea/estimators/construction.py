"""Everything that one fit's model is made from, so that the same model can be made again."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from ..engine.initial_values import initial_values
from ..engine.likeness import Likeness
from ..engine.rows import Arrays
from ..engine.seeding import Generators
from .building import build_for, make_model
from .compiling import adds_loss, compile_arguments, ensure_compiled, head_losses
from .features import describe_features
from .heads import Heads
from .model_inputs import inputs_for
from .settings import Settings


class Target(Protocol):
    """What y is, and how a model's losses want it and its outputs give it back."""

    @property
    def kind(self) -> str: ...

    @property
    def n_outputs(self) -> int: ...

    def describe(self, n_samples: int) -> dict[str, Any]: ...

    def state(self) -> dict[str, Any]: ...

    def label_arrays(self) -> list[np.ndarray]: ...

    def default_losses(self, heads: Heads) -> Any: ...

    def fit_to(self, heads: Heads, head_losses: list[Any]) -> None: ...

    def encode(self, y: np.ndarray) -> Arrays: ...

    def decide(self, outputs: Arrays) -> np.ndarray: ...


@dataclass(eq=False)
class Made:
    """A built and compiled model, its outputs, and the loss of each.

    ``likeness`` tells models apart, where it is known (see :mod:`amalthea.engine.likeness`).
    ``generators`` are the global random generators as the builder left them.
    """

    model: keras.Model
    heads: Heads
    losses: list[Any]
    likeness: Likeness | None = None
    generators: Generators | None = None
    owned: bool = False  # an estimator has it as its own


@dataclass(frozen=True)
class Construction:
    """What a builder is called with, and for what data.

    ``template`` are arrays like X without rows, and ``n_samples`` counts the rows; ``family``
    names the search that the fit belongs to. ``policy`` is Keras's dtype policy at the fit.
    ``build`` is called under the fit's seed.
    """

    settings: Settings
    template: Arrays
    target: Any
    n_samples: int
    policy: Any
    family: str | None = None

    @property
    def meta(self) -> dict[str, Any]:
        """What a builder may ask for."""
        known = {
            **describe_features(self.template, self.n_samples),
            **self.target.describe(self.n_samples),
        }
        return copy.deepcopy(known)  # the builder may take it apart

    def build(self) -> keras.Model:
        """A model that is built and compiled for X and y, with the target settled for it.

        Raises
        ------
        InvalidModel, InvalidModelType, TargetMismatch, BuildError, InvalidParameter
        """
        made = self.make()
        self.settle(made)
        return made.model

    def settle(self, made: Made) -> None:
        """Encode the target as the losses and outputs of that model want it."""
        self.target.fit_to(made.heads, made.losses)

    def make(self) -> Made:
        """As :meth:`build`, but the target is only looked at."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)  # another process may have another one
        try:
            return self._make()
        finally:
            keras.config.set_dtype_policy(before)

    def _make(self) -> Made:
        settings, target = self.settings, self.target
        with initial_values():
            model = make_model(
                settings, self.meta, lambda: compile_arguments(settings), self.family
            )
            heads = build_for(model, self.template)
        ensure_compiled(
            model,
            settings,
            choose_loss=lambda: target.default_losses(heads),
            adds_loss=lambda: adds_loss(model, inputs_for(model, self.template)),
        )
        return Made(model, heads, head_losses(model, heads))
