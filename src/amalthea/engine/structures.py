"""What a compiled program depends on: the traced steps of a model, on batches of given shapes."""

from __future__ import annotations

import hashlib
import itertools
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import keras
import numpy as np

from .batches import EpochBatches, as_they_stand
from .batching import Batching, Steps
from .initial_values import initial_values
from .likeness import Likeness, likeness
from .obstacles import NeedsKeras
from .programs import TracedStep, made_by, trace
from .requests import FitRequest, PredictRequest
from .rows import Arrays, Rows, in_keras_floats, leaves, map_arrays
from .seeding import resumed
from .steadiness import is_steady
from .steps import (
    State,
    predict_step,
    state_of,
    test_step,
    train_step,
    variables_of,
)

STRUCTURES_KEPT = 1024
LIKENESSES_KEPT = 256  # some 30 kB each
Seen = dict[int, tuple[keras.Model, int | None]]  # the models of one call, by address
_count = itertools.count()


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


class Structures:
    """Finds the structure of a request, by tracing only what no likeness tells."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, Any] = OrderedDict()
        self._numbers: OrderedDict[Likeness, int] = OrderedDict()
        # What an optimizer gets when it is built, where the likeness tells it.
        self._slots: OrderedDict[Likeness | None, list[np.ndarray] | None] = OrderedDict()
        self._own: weakref.WeakKeyDictionary[Any, OrderedDict[Hashable, Any]] = (
            weakref.WeakKeyDictionary()
        )

    def likeness_of(self, request: FitRequest, seen: Seen) -> Hashable | None:
        """Equal for requests that are known, without tracing, to have one structure."""
        number = self._number(request, seen)
        return None if number is None else (number, _shapes_of_fit(request), *_settings())

    def _number(self, request: FitRequest | PredictRequest, seen: Seen) -> int | None:
        """The number of a model's likeness; None when it has none."""
        model = request.model
        if id(model) not in seen:
            spelled = request.likeness or likeness(model, variables_of(model))
            number = None
            if spelled is not None:
                number = self._numbers.get(spelled)
                number = next(_count) if number is None else number
                _keep(self._numbers, spelled, number, LIKENESSES_KEPT)
            seen[id(model)] = model, number
        return seen[id(model)][1]

    def clear(self) -> None:
        self._known.clear()
        self._numbers.clear()
        self._slots.clear()
        self._own.clear()

    def of_fit(
        self, request: FitRequest, key: Hashable | None, all_variables: bool = False
    ) -> tuple[Structure, State]:
        """The structure of a fit, and the state that it starts from.

        ``key`` is its likeness. With ``all_variables`` the model gets its metrics' variables too,
        for who looks at them.
        """
        model = request.model
        known = self._known.get(key) if key is not None else None
        if known is None:
            with resumed(request.generators):
                built, before = model.optimizer.built, list(model.optimizer.variables)
                with initial_values():
                    create_variables(request)
                    _reset_metrics(model)
                if request.likeness is not None and not built:
                    slots = _slots_of(model.optimizer, before)
                    _keep(self._slots, request.likeness, slots, LIKENESSES_KEPT)
                state = state_of(model)
                known = self._trace(request, state, of_keras=key is not None)
            if key is not None:
                _keep(self._known, key, known, STRUCTURES_KEPT)
            return known, state
        if all_variables:
            create_variables(request)
        elif not model.optimizer.built:
            slots = self._slots.get(request.likeness) if request.keeps_model else None
            if slots is not None:
                state = state_of(model)
                optimizer = [*state.optimizer, *slots]
                return known, state._replace(optimizer=optimizer, metrics=known.no_metrics)
            with initial_values():
                model.optimizer.build(model.trainable_variables)
        return known, state_of(model)._replace(metrics=known.no_metrics)

    def of_predict(self, request: PredictRequest, state: State, seen: Seen) -> Structure:
        """The step that predicts a batch, in the place of one that trains."""
        model = request.model
        number = self._number(request, seen)
        like = map_arrays(lambda array: in_keras_floats(array[:0]), request.x)
        key = (request.batch_size, number, _shapes(like), *_settings())
        # A model without a likeness keeps its steps, as Keras's keep their predict function.
        known = self._known if number is not None else self._own.setdefault(model, OrderedDict())
        structure: Structure | None = known.get(key)
        if structure is None:
            x = _batch_like(Rows(request.x, None), request.batch_size)[0]
            step = trace(lambda state, x: predict_step(model, state, x), state, x)
            structure = Structure(step.key, Steps(step, None), None, [], [])
            _keep(known, key, structure, STRUCTURES_KEPT)
        return structure

    def _trace(self, request: FitRequest, state: State, of_keras: bool) -> Structure:
        model = request.model
        train = _steps(train_step, model, state, request.training, request.batch_size)
        test = None
        if request.validation is not None:
            size = request.validation_batch_size
            test = _steps(test_step, model, state, request.validation, size)
        no_metrics = [np.asarray(value) for value in state.metrics]
        parts = (train.key, test and test.key, [value.tobytes() for value in no_metrics])
        key = hashlib.sha256(str(parts).encode()).hexdigest()
        steady = of_keras and is_steady(model)
        return Structure(key, train, test, no_metrics, list(model.metrics), steady)


def _keep(known: OrderedDict[Any, Any], key: Hashable, value: Any, most: int) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > most:
        known.popitem(last=False)


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


def _steps(step: Any, model: keras.Model, state: State, rows: Rows, batch_size: int) -> Steps:
    def traced(n_rows: int) -> TracedStep | None:
        if not n_rows:
            return None
        batch = _batch_like(rows, n_rows)
        return trace(lambda state, data: step(model, state, data), state, batch)

    whole = traced(batch_size) if len(rows) >= batch_size else None
    return Steps(whole, traced(len(rows) % batch_size))


def _batch_like(rows: Rows, n_rows: int) -> tuple[Arrays, ...]:
    """Arrays with the shapes and types of a batch, to trace a step on."""

    def one(array: Any) -> jax.ShapeDtypeStruct:
        kept = in_keras_floats(np.empty((0,), array.dtype)).dtype
        return jax.ShapeDtypeStruct((n_rows, *array.shape[1:]), kept)

    parts = (rows.x, rows.y, rows.sample_weight)
    return tuple(map_arrays(one, part) for part in parts if part is not None)


def _shapes_of_fit(request: FitRequest) -> Hashable:
    rows, held = request.training, request.validation
    validation = _rows_shape(held, request.validation_batch_size) if held else None
    return _rows_shape(rows, request.batch_size), validation


def _rows_shape(rows: Rows, batch_size: int) -> Hashable:
    whole, rest = len(rows) >= batch_size, len(rows) % batch_size
    parts = (rows.x, rows.y, rows.sample_weight)
    return batch_size, whole, rest, *(_shapes(part) for part in parts)


def _shapes(arrays: Arrays) -> Hashable:
    structure = str(map_arrays(lambda _: None, arrays))
    return structure, *((array.shape[1:], str(array.dtype)) for array in leaves(arrays))


def _settings() -> tuple[Hashable, ...]:
    """Settings of Keras and JAX that a trace reads, and no model tells."""
    config = keras.config
    return (
        config.floatx(),
        config.epsilon(),
        config.image_data_format(),
        config.is_flash_attention_enabled(),
        str(made_by()),
    )
