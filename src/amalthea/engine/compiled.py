"""Fits and predictions in compiled programs that stay on the device (JAX).

The numbers are those of Keras's own ``fit``: the same functions are compiled, called on the same
batches in the same order. What is saved is the work around them: a program is compiled once for
all fits that trace to it, and an epoch is one call.
"""

from __future__ import annotations

import weakref
from typing import Any

import jax
import keras
import numpy as np

from . import memory
from .batches import EpochBatches, as_they_stand, shuffled
from .epochs import Epoch, epoch_of
from .programs import Programs, trace
from .requests import FitRequest, FitResult, PredictRequest
from .rows import Arrays, Rows, count_rows, map_arrays, take
from .steps import State, predict_step, put_state, state_of, test_step, train_step

Logs = dict[str, float]


class CompiledTrainer:
    """Answers requests that :func:`amalthea.engine.forms.why_not_compiled` has nothing against."""

    def __init__(self) -> None:
        self._programs = Programs()
        # Predictions of one model again and again need no second look at its program.
        self._predictors: weakref.WeakKeyDictionary[Any, dict[str, Any]] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def compilations(self) -> int:
        """How many programs were compiled so far."""
        return self._programs.compilations

    def fit(self, request: FitRequest) -> FitResult:
        model = request.model
        _create_variables(request)
        training = _Training(request, self._programs)
        try:
            history, epochs = training.run()
        finally:
            training.synchronise()
            if request.epochs > 0:
                model.optimizer.finalize_variable_values(model.trainable_variables)
        model.history.history, model.history.epoch = history, epochs
        memory.after_fit()
        return FitResult(history, epochs)

    def predict(self, request: PredictRequest) -> Arrays:
        model, n_rows = request.model, count_rows(request.x)
        weights = _weights(model)
        batches = []
        program = None
        for start in range(0, n_rows, request.batch_size):
            rows = np.arange(start, start + request.batch_size)
            x = take(request.x, np.minimum(rows, n_rows - 1))
            program = program or self._predictor(model, weights, x)
            outputs, weights = program(weights, x)
            batches.append(outputs)
        joined = jax.tree.map(lambda *parts: np.concatenate(parts), *batches)
        return map_arrays(lambda array: array[:n_rows], joined)

    def _predictor(self, model: keras.Model, weights: Any, x: Arrays) -> Any:
        known = self._predictors.setdefault(model, {})
        shapes = str(jax.tree.map(lambda array: (array.shape, str(array.dtype)), (weights, x)))
        if shapes not in known:
            step = lambda weights, x: predict_step(model, weights, x)  # noqa: E731
            known[shapes] = self._programs(trace(step, weights, x))
        return known[shapes]


class _Training:
    """One fit, epoch by epoch; callbacks see the model as they do in Keras's own ``fit``."""

    def __init__(self, request: FitRequest, programs: Programs) -> None:
        self._request, self._model = request, request.model
        n_rows = len(request.training)
        self._order = shuffled(n_rows, request.seed) if request.shuffle else as_they_stand(n_rows)
        self._model.reset_metrics()
        self._state = state_of(self._model)
        self._no_metrics = self._state.metrics
        self._train: Epoch | None = None
        self._test: Epoch | None = None
        self._programs = programs
        self._callbacks = keras.callbacks.CallbackList(
            list(request.callbacks), epochs=request.epochs, model=self._model
        )

    def run(self) -> tuple[dict[str, list[float]], list[int]]:
        request, model = self._request, self._model
        history: dict[str, list[float]] = {}
        epochs: list[int] = []
        logs: Logs = {}
        self._prepare()
        model.stop_training = False
        self._callbacks.on_train_begin()
        for epoch in range(request.initial_epoch, request.epochs):
            logs = self._epoch(epoch)
            epochs.append(epoch)
            for name, value in logs.items():
                history.setdefault(name, []).append(value)
            if model.stop_training:
                break
        if self._has_callbacks:
            self._callbacks.on_train_end(logs)
            self._state = state_of(model)
        return history, epochs

    def synchronise(self) -> None:
        """Give the model the state that training has reached."""
        put_state(self._model, self._state)

    @property
    def _has_callbacks(self) -> bool:
        return bool(self._request.callbacks)

    def _prepare(self) -> None:
        request, model = self._request, self._model
        if request.epochs > request.initial_epoch:
            self._train = epoch_of(
                lambda state, data: train_step(model, state, data),
                request.training,
                request.batch_size,
                self._state,
                self._programs,
            )
            if request.validation is not None:
                self._test = epoch_of(
                    lambda state, data: test_step(model, state, data),
                    request.validation,
                    request.validation_batch_size,
                    self._state,
                    self._programs,
                )

    def _epoch(self, epoch: int) -> Logs:
        assert self._train is not None
        if self._has_callbacks:
            self._callbacks.on_epoch_begin(epoch)
            self._state = state_of(self._model)
        state, logs = self._train(self._without_metrics(self._state), self._order(epoch))
        self._state = state
        if self._has_callbacks:
            self.synchronise()
        values = _numbers(logs)
        if self._test is not None and (epoch + 1) % self._request.validation_freq == 0:
            values.update(self._validate())
        if self._has_callbacks:
            self._callbacks.on_epoch_end(epoch, dict(values))
            self._state = state_of(self._model)
        return values

    def _validate(self) -> Logs:
        assert self._test is not None and self._request.validation is not None
        if self._has_callbacks:
            self._callbacks.on_test_begin()
        rows = np.arange(len(self._request.validation))
        self._state, logs = self._test(self._without_metrics(self._state), rows)
        values = _numbers(logs)
        if self._has_callbacks:
            self.synchronise()
            self._callbacks.on_test_end(dict(values))
        return {f"val_{name}": value for name, value in values.items()}

    def _without_metrics(self, state: State) -> State:
        return state._replace(metrics=self._no_metrics)


def _create_variables(request: FitRequest) -> None:
    """Let Keras create what it creates at the beginning of a fit, and train nothing.

    Metrics and the optimizer get their variables there, from the shapes of the first batch.
    """
    rows: Rows = request.training
    batches = EpochBatches(rows, request.batch_size, as_they_stand(len(rows)))
    request.model.fit(batches, epochs=0, verbose=0)


def _weights(model: keras.Model) -> tuple[list[jax.Array], list[jax.Array]]:
    return (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )


def _numbers(logs: dict[str, Any]) -> Logs:
    return {name: float(value) for name, value in sorted(logs.items())}
