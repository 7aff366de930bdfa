"""What a compiled program depends on: the traced steps of a model, on batches of given shapes."""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import keras
import numpy as np

from .alike import FORMS_KEPT, FitLike, Forms, Seen, rows_like, settings, shapes_of
from .batches import EpochBatches, as_they_stand
from .batching import Batching, Steps
from .initial_values import initial_values
from .known_steps import KnownSteps
from .obstacles import NeedsKeras
from .programs import TracedStep, trace
from .recent import keep
from .requests import FitRequest, PredictRequest
from .rows import Arrays, Rows, in_keras_types, map_arrays
from .seeding import resumed
from .steadiness import is_steady
from .steps import (
    Address,
    State,
    predict_step,
    state_of,
    test_step,
    train_step,
)

STRUCTURES_KEPT = 1024


@dataclass(frozen=True, eq=False)
class Structure:
    """Fits of equal structure can share programs.

    ``no_metrics`` are the values of metrics at the beginning of an epoch, and ``metrics`` the
    metrics of the first model of this structure, for callbacks that ask which way is better.
    ``steady``: differences in rounding stay as small as they are.
    """

    key: str
    train: Batching
    test: Batching | None
    no_metrics: list[np.ndarray]
    metrics: list[Any] = field(repr=False)
    steady: bool = False

    @property
    def by_themselves(self) -> frozenset[Address]:
        """Arrays of the state that fits of one seed have in common as long as they train."""
        of_training = self.train.by_themselves
        return of_training if self.test is None else of_training & self.test.by_themselves


class Structures:
    """Finds the structure of a request, and traces only what no likeness tells."""

    def __init__(self) -> None:
        self._forms, self._steps = Forms(), KnownSteps()
        self._known: OrderedDict[Hashable, Structure] = OrderedDict()
        self._begun: OrderedDict[Hashable, Structure] = OrderedDict()
        # What an optimizer gets when it is built, where the form tells it.
        self._slots: OrderedDict[int, list[np.ndarray] | None] = OrderedDict()
        self._own: weakref.WeakKeyDictionary[Any, OrderedDict[Hashable, Any]] = (
            weakref.WeakKeyDictionary()
        )

    def likeness_of(self, request: FitRequest, seen: Seen) -> FitLike | None:
        """Equal for requests that are known, without tracing, to have one structure."""
        return self._forms.of_fit(request, seen)

    def clear(self) -> None:
        for known in (self._forms, self._steps, self._known, self._begun, self._slots, self._own):
            known.clear()

    def of_fit(
        self, request: FitRequest, key: FitLike | None, all_variables: bool = False
    ) -> tuple[Structure, State]:
        """The structure of a fit, and the state that it starts from.

        ``key`` is its likeness. With ``all_variables`` the model gets its metrics' variables too,
        for who looks at them.
        """
        model = request.model
        known = self._found(key)
        if known is None:
            with resumed(request.generators):
                built, before = model.optimizer.built, list(model.optimizer.variables)
                with initial_values():
                    create_variables(request)
                    _reset_metrics(model)
                if request.likeness is not None and key is not None and not built:
                    slots = _slots_of(model.optimizer, before)
                    keep(self._slots, key.model.form, slots, FORMS_KEPT)
                state = state_of(model)
                known = self._trace(request, state, key)
            return known, state
        if all_variables:
            create_variables(request)
        elif not model.optimizer.built:
            slots = self._slots.get(key.model.form) if key and request.keeps_model else None
            if slots is not None:
                state = state_of(model)
                optimizer = [*state.optimizer, *slots]
                return known, state._replace(optimizer=optimizer, metrics=known.no_metrics)
            with initial_values():
                model.optimizer.build(model.trainable_variables)
        return known, state_of(model)._replace(metrics=known.no_metrics)

    def _found(self, key: FitLike | None) -> Structure | None:
        """A structure that is known, or whose steps are."""
        if key is None:
            return None
        known, begun = self._known.get(key), self._begun.get(key.beginning)
        if known is None and begun is not None:
            train = self._steps.steps("train", key.model, key.training)
            held = key.validation
            test = None if held is None else self._steps.steps("test", key.model, held)
            if train is not None and (test is None) == (held is None):
                known = _structure(train, test, begun.no_metrics, begun.metrics, begun.steady)
        if known is not None:
            keep(self._known, key, known, STRUCTURES_KEPT)
        return known

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
                x = _batch_like(Rows(request.x, None), request.batch_size)[0]
                return trace(lambda state, x: predict_step(model, state, x), state, x)

            step = self._steps.step("predict", alike, shapes, request.batch_size, traced)
            structure = Structure(step.key, Steps(step, None), None, [], [])
            keep(known, key, structure, STRUCTURES_KEPT)
        return structure

    def _trace(self, request: FitRequest, state: State, key: FitLike | None) -> Structure:
        """Trace those of its steps that are not known."""
        model, held = request.model, request.validation
        alike = None if key is None else key.model

        def steps(kind: str, step: Any, rows: Rows, batch_size: int) -> Steps:
            like = rows_like(rows, batch_size)

            def of_size(n_rows: int | None) -> TracedStep | None:
                if n_rows is None:
                    return None
                batch = _batch_like(rows, n_rows)

                def traced() -> TracedStep:
                    return trace(lambda state, data: step(model, state, data), state, batch)

                return self._steps.step(kind, alike, like.shapes, n_rows, traced)

            return Steps(*map(of_size, like.sizes))

        train = steps("train", train_step, request.training, request.batch_size)
        test = None
        if held is not None:
            test = steps("test", test_step, held, request.validation_batch_size)
        no_metrics = [np.asarray(value) for value in state.metrics]
        steady = key is not None and is_steady(model)
        structure = _structure(train, test, no_metrics, list(model.metrics), steady)
        if key is not None:
            keep(self._known, key, structure, STRUCTURES_KEPT)
            keep(self._begun, key.beginning, structure, STRUCTURES_KEPT)
        return structure


def _structure(
    train: Steps,
    test: Steps | None,
    no_metrics: list[np.ndarray],
    metrics: list[Any],
    steady: bool,
) -> Structure:
    parts = (train.key, test and test.key, [value.tobytes() for value in no_metrics])
    key = hashlib.sha256(str(parts).encode()).hexdigest()
    return Structure(key, train, test, no_metrics, metrics, steady)


def create_variables(request: FitRequest) -> None:
    """Let Keras create what it creates at the beginning of a fit, and train nothing.

    Metrics and the optimizer get their variables there, from the shapes of the first batch.
    """
    rows = request.training
    batches = EpochBatches(rows, request.batch_size, as_they_stand(len(rows)))
    request.model.fit(batches, epochs=0, verbose=0)


def _slots_of(
    optimizer: keras.optimizers.Optimizer, before: list[keras.Variable]
) -> list[np.ndarray] | None:
    """The values of what an optimizer got since then, if each is one number throughout.

    Then they come from its settings alone, and models of one likeness begin with the same.
    """
    variables = optimizer.variables
    if list(map(id, variables[: len(before)])) != list(map(id, before)):
        return None
    values = [np.asarray(variable.value) for variable in variables[len(before) :]]
    return values if all((value == value.flat[:1]).all() for value in values) else None


def _reset_metrics(model: keras.Model) -> None:
    """Reset the metrics, and see that they begin each epoch alike, as Keras's own do."""
    model.reset_metrics()
    if all(type(metric).__module__.startswith("keras.") for metric in _metrics_of(model)):
        return
    fresh = [np.asarray(variable.value) for variable in model.metrics_variables]
    for variable in model.metrics_variables:
        variable.assign(variable.value + 1)
    model.reset_metrics()
    again = [np.asarray(variable.value) for variable in model.metrics_variables]
    for before, after, variable in zip(fresh, again, model.metrics_variables, strict=True):
        if not np.array_equal(before, after):
            variable_name = variable.path
            for kept, value in zip(model.metrics_variables, fresh, strict=True):
                kept.assign(value)
            raise NeedsKeras(f"reset_state of a metric does not reset {variable_name}")


def _metrics_of(model: keras.Model) -> Iterator[Any]:
    """The metrics of a model, and those that a collection of metrics holds."""
    ahead = list(model.metrics)
    while ahead:
        metric = ahead.pop()
        yield metric
        ahead.extend(getattr(metric, "metrics", ()))


def _batch_like(rows: Rows, n_rows: int) -> tuple[Arrays, ...]:
    """Arrays with the shapes and types of a batch, to trace a step on."""

    def one(array: Any) -> jax.ShapeDtypeStruct:
        kept = in_keras_types(np.empty((0,), array.dtype)).dtype
        return jax.ShapeDtypeStruct((n_rows, *array.shape[1:]), kept)

    parts = (rows.x, rows.y, rows.sample_weight)
    return tuple(map_arrays(one, part) for part in parts if part is not None)
