"""What a compiled program depends on: the traced steps of a model, on batches of given shapes."""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .alike import FitLike, Forms, Seen, rows_like, settings, shapes_of
from .batching import Batching, Steps
from .beginnings import Beginning, StoredBeginning, beginning, create_variables
from .initial_values import initial_values
from .known_steps import KnownSteps
from .programs import TracedStep, trace
from .recent import keep
from .requests import FitRequest, PredictRequest
from .rows import Rows, batch_like, in_keras_types, map_arrays
from .seeding import resumed
from .shared_parts import SharedParts
from .steps import (
    Address,
    State,
    predict_step,
    state_of,
    test_step,
    train_step,
)
from .stored_steps import StoredSteps

STRUCTURES_KEPT = 1024


@dataclass(frozen=True, eq=False)
class Structure:
    """Fits of equal structure can share programs.

    ``no_metrics`` are the values of metrics at the beginning of an epoch, and ``metrics`` the
    metrics of the first model of this structure, for callbacks that ask which way is better; None
    where no model has made them in this process. ``steady``: differences in rounding stay as small
    as they are.
    """

    key: str
    train: Batching
    test: Batching | None
    no_metrics: list[np.ndarray]
    metrics: list[Any] | None = field(repr=False)
    steady: bool = False

    @property
    def by_themselves(self) -> frozenset[Address]:
        """Arrays of the state that fits of one seed have in common as long as they train."""
        of_training = self.train.by_themselves
        return of_training if self.test is None else of_training & self.test.by_themselves


class Structures:
    """Finds the structure of a request, and traces only what no likeness tells.

    What this process learns by tracing can be written down for others (``write``).
    """

    def __init__(self, stored: StoredSteps | None = None) -> None:
        self._stored = stored or StoredSteps(None)
        self._forms, self._parts = Forms(), SharedParts()
        self._steps = KnownSteps(self._stored, self._forms)
        self._known: OrderedDict[Hashable, Structure] = OrderedDict()
        self._begun: OrderedDict[Hashable, Beginning] = OrderedDict()
        self._own: weakref.WeakKeyDictionary[Any, OrderedDict[Hashable, Any]] = (
            weakref.WeakKeyDictionary()
        )

    def likeness_of(self, request: FitRequest, seen: Seen) -> FitLike | None:
        """Equal for requests that are known, without tracing, to have one structure."""
        return self._forms.of_fit(request, seen)

    def knows(self, key: FitLike | None) -> bool:
        """Whether fits of this likeness have been met."""
        return key is not None and key in self._known

    def clear(self) -> None:
        for known in (self._forms, self._steps, self._parts):
            known.clear()
        for found in (self._known, self._begun, self._own):
            found.clear()

    def write(self) -> None:
        """Write down what is new; it can be done while others work."""
        self._stored.write()

    def of_fit(
        self,
        request: FitRequest,
        key: FitLike | None,
        metrics: bool = False,
        all_variables: bool = False,
    ) -> tuple[Structure, State]:
        """The structure of a fit, and the state that it starts from.

        ``key`` is its likeness. With ``metrics`` the structure has its metrics, and with
        ``all_variables`` the model gets their variables too, for who looks at them.
        """
        model = request.model
        known = self._found(key) if model.built else None  # else its variables are still to come
        if known is None or (metrics and known.metrics is None):
            return self._begin(request, key)
        if all_variables:
            create_variables(request)
        elif not model.optimizer.built:
            begun = self._begun.get(key.beginning) if key and request.keeps_model else None
            if begun is not None and begun.slots is not None:
                state = state_of(model)
                optimizer = [*state.optimizer, *begun.slots]
                return known, state._replace(optimizer=optimizer, metrics=known.no_metrics)
            with initial_values():
                model.optimizer.build(model.trainable_variables)
        return known, state_of(model)._replace(metrics=known.no_metrics)

    def _begin(self, request: FitRequest, key: FitLike | None) -> tuple[Structure, State]:
        """The same, of the first fit of its likeness."""
        with resumed(request.generators):
            begun = beginning(request, is_told=key is not None)
            state = state_of(request.model)
            train, test = self._trace(request, state, key)
        structure = _structure(train, test, begun)
        if key is not None:
            keep(self._known, key, structure, STRUCTURES_KEPT)
            self._keep_beginning(key, begun)
        return structure, state

    def _found(self, key: FitLike | None) -> Structure | None:
        """A structure that is known, or whose steps are."""
        if key is None:
            return None
        known = self._known.get(key)
        begun = self._beginning(key) if known is None else None
        if begun is not None:
            train = self._steps.steps("train", key.model, key.training)
            held = key.validation
            test = None if held is None else self._steps.steps("test", key.model, held)
            if train is not None and (test is None) == (held is None):
                known = _structure(train, test, begun)
        if known is not None:
            keep(self._known, key, known, STRUCTURES_KEPT)
        return known

    def _beginning(self, key: FitLike) -> Beginning | None:
        begun = self._begun.get(key.beginning)
        told = self._told(key) if begun is None else None
        if told is not None:
            stored = self._stored.load(told)
            if stored is not None:
                begun = stored.beginning()
                keep(self._begun, key.beginning, begun, STRUCTURES_KEPT)
        return begun

    def _keep_beginning(self, key: FitLike, begun: Beginning) -> None:
        keep(self._begun, key.beginning, begun, STRUCTURES_KEPT)
        told = self._told(key)
        if told is not None:
            self._stored.keep(told, StoredBeginning.of(begun))

    def _told(self, key: FitLike) -> tuple[Hashable, ...] | None:
        """What tells the beginning in other processes, where anything is stored."""
        form = self._forms.told(key.model.form) if self._stored.are_kept else None
        _, *others = key.beginning
        return None if form is None else ("begin", form, *others)

    def of_predict(self, request: PredictRequest, state: State, seen: Seen) -> Structure:
        """The step that predicts a batch, in the place of one that trains."""
        model, alike = request.model, self._forms.of_model(request, seen)
        like = map_arrays(lambda array: in_keras_types(array[:0]), request.x)
        shapes = shapes_of(like)
        key = (request.batch_size, alike or settings(), shapes)
        # A model without a likeness keeps its steps, as Keras's keep their predict function.
        known = self._known if alike is not None else self._own.setdefault(model, OrderedDict())
        structure: Structure | None = known.get(key)
        if structure is None:

            def traced() -> TracedStep:
                x = batch_like(Rows(request.x, None), request.batch_size)[0]
                return trace(lambda state, x: predict_step(model, state, x), state, x)

            step = self._steps.step("predict", alike, shapes, request.batch_size, traced)
            structure = Structure(step.key, Steps(step, None), None, [], [])
            keep(known, key, structure, STRUCTURES_KEPT)
        return structure

    def _trace(
        self, request: FitRequest, state: State, key: FitLike | None
    ) -> tuple[Steps, Steps | None]:
        """Trace those of its steps that are not known."""
        model, held = request.model, request.validation
        alike = None if key is None else key.model

        def steps(kind: str, step: Any, rows: Rows, batch_size: int) -> Steps:
            like = rows_like(rows, batch_size)

            def of_size(n_rows: int | None) -> TracedStep | None:
                if n_rows is None:
                    return None
                batch = batch_like(rows, n_rows)

                def traced() -> TracedStep:
                    return trace(lambda state, data: step(model, state, data), state, batch)

                return self._steps.step(kind, alike, like.shapes, n_rows, traced)

            return Steps(*map(of_size, like.sizes))

        with self._parts.shared(model, is_told=key is not None):
            train = steps("train", train_step, request.training, request.batch_size)
            if held is None:
                return train, None
            return train, steps("test", test_step, held, request.validation_batch_size)


def _structure(train: Steps, test: Steps | None, begun: Beginning) -> Structure:
    parts = (train.key, test and test.key, [value.tobytes() for value in begun.no_metrics])
    key = hashlib.sha256(str(parts).encode()).hexdigest()
    return Structure(key, train, test, begun.no_metrics, begun.metrics, begun.steady)
