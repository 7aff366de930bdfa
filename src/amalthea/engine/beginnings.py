"""What a fit begins with, before anything is trained: what Keras creates at its beginning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import keras
import numpy as np

from .batches import EpochBatches, as_they_stand
from .initial_values import initial_values
from .obstacles import NeedsKeras
from .requests import FitRequest
from .rows import batch_like
from .steadiness import is_steady


class Beginning(NamedTuple):
    """What fits of a likeness begin with, as in :class:`.structures.Structure`.

    ``slots`` are what an optimizer gets when it is built, where the form tells it.
    """

    no_metrics: list[np.ndarray]
    metrics: list[Any] | None
    steady: bool
    slots: list[np.ndarray] | None


class StoredBeginning(NamedTuple):
    """The same without objects, and of slots, each one number throughout, that number."""

    no_metrics: list[np.ndarray]
    steady: bool
    slots: list[tuple[tuple[int, ...], np.ndarray]] | None

    @classmethod
    def of(cls, begun: Beginning) -> StoredBeginning:
        slots = begun.slots
        told = None if slots is None else [(slot.shape, slot.flat[:1].copy()) for slot in slots]
        return cls(begun.no_metrics, begun.steady, told)

    def beginning(self) -> Beginning:
        slots = self.slots
        made = None
        if slots is not None:
            made = [np.resize(number, shape) for shape, number in slots]
        return Beginning(self.no_metrics, None, self.steady, made)


def beginning(request: FitRequest, is_told: bool) -> Beginning:
    """Create what Keras creates at the beginning of a fit.

    ``is_told``: a likeness tells all about the model.
    """
    model = request.model
    built, before = model.optimizer.built, list(model.optimizer.variables)
    with initial_values():
        if not (is_told and _create_at_once(request)):
            create_variables(request)  # which says what is wrong, if something is
        _reset_metrics(model)
    return Beginning(
        [np.asarray(variable.value) for variable in model.metrics_variables],
        list(model.metrics),
        is_told and is_steady(model),
        _slots_of(model.optimizer, before) if request.likeness and not built else None,
    )


def _create_at_once(request: FitRequest) -> bool:
    """The same as :func:`create_variables`, if it can be done without a trace of the model.

    With one output of a known shape and one loss, only metrics have to be seen on it.
    """
    model = request.model
    outputs = getattr(model, "outputs", None) or []
    layers = [model, *getattr(model, "layers", ())]
    one = len(outputs) == 1 and isinstance(model.loss, str | keras.losses.Loss)
    if not one or not all(layer.built for layer in layers):
        return False
    x, y, *weights = batch_like(request.training, min(len(request.training), request.batch_size))
    try:
        shape = model.compute_output_shape(jax.tree.map(lambda array: array.shape, x))
        if not _is_of_one_array(shape, outputs[0].shape):
            return False
        y_pred = jax.ShapeDtypeStruct(shape, outputs[0].dtype)
        if not _build_means(model, y, y_pred):
            with keras.StatelessScope():
                jax.eval_shape(model.compute_metrics, x, y, y_pred, *weights)
    except Exception:
        return False
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return True


def _build_means(model: keras.Model, y: Any, y_pred: Any) -> bool:
    """Build the metrics for arrays of these shapes; whether they have all of their variables then.

    Means, such as accuracies, have them from the start. Others may get some from what they see.
    """
    for metric in model.metrics:
        if not getattr(metric, "built", True):
            metric.build(y, y_pred)
    return all(
        type(metric).__module__.startswith("keras.")
        and (isinstance(metric, keras.metrics.Mean) or hasattr(metric, "metrics"))
        for metric in _metrics_of(model)
    )


def _is_of_one_array(shape: Any, symbolic: tuple[int | None, ...]) -> bool:
    """Whether that is the shape of one array, as the model itself says but for some sizes."""
    return (
        isinstance(shape, tuple)
        and len(shape) == len(symbolic)
        and all(type(a) is int and b in (None, a) for a, b in zip(shape, symbolic, strict=True))
    )


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
