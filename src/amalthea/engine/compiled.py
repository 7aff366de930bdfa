"""Fits and predictions in compiled programs that stay on the device (JAX).

The numbers are those of Keras's own ``fit``: the same functions are compiled, called on the same
batches in the same order. What is saved is the work around them: a program is compiled once for
all fits that trace to it, and an epoch is one call.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import keras
import numpy as np

from . import memory
from .batches import EpochBatches, as_they_stand, shuffled
from .epochs import Epoch, epoch_of
from .programs import Programs, trace
from .requests import FitRequest, FitResult, PredictRequest, plain_history, plain_value
from .rows import Arrays, Rows, count_rows, map_arrays, take
from .steps import predict_step, put_state, state_of, test_step, train_step, weights_of

Logs = dict[str, Any]


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
        memory.after_fit()
        return FitResult(history, epochs)

    def predict(self, request: PredictRequest) -> Arrays:
        model, n_rows = request.model, count_rows(request.x)
        weights = weights_of(model)
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
        self._request, self._model, self._programs = request, request.model, programs
        n_rows = len(request.training)
        self._order = shuffled(n_rows, request.seed) if request.shuffle else as_they_stand(n_rows)
        self._model.reset_metrics()
        self._state = state_of(self._model)
        self._no_metrics = self._state.metrics
        self._hooks = keras.callbacks.CallbackList(
            list(request.callbacks),
            add_history=True,
            model=self._model,
            verbose=0,
            epochs=request.epochs,
            steps=-(-n_rows // request.batch_size),
        )

    def run(self) -> tuple[dict[str, list[Any]], list[int]]:
        request, model = self._request, self._model
        epochs = range(request.initial_epoch, request.epochs)
        train, test = self._epochs() if epochs else (None, None)
        model.stop_training = False
        logs: Logs = {}
        self._hooks.on_train_begin()
        for epoch in epochs:
            with self._seen_by_callbacks():
                self._hooks.on_epoch_begin(epoch)
            logs = self._run(train, self._order(epoch))
            if test is not None and (epoch + 1) % request.validation_freq == 0:
                logs.update(self._validate(test))
            with self._seen_by_callbacks():
                self._hooks.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        with self._seen_by_callbacks():
            self._hooks.on_train_end(logs)
        return plain_history(model.history.history), list(model.history.epoch)

    def synchronise(self) -> None:
        """Give the model the state that training has reached."""
        put_state(self._model, self._state)

    def _epochs(self) -> tuple[Epoch, Epoch | None]:
        request, model = self._request, self._model

        def epoch_on(step: Any, rows: Rows, batch_size: int) -> Epoch:
            bound = lambda state, data: step(model, state, data)  # noqa: E731
            return epoch_of(bound, rows, batch_size, self._state, self._programs)

        train = epoch_on(train_step, request.training, request.batch_size)
        if request.validation is None:
            return train, None
        return train, epoch_on(test_step, request.validation, request.validation_batch_size)

    def _run(self, epoch: Any, order: np.ndarray) -> Logs:
        self._state, logs = epoch(self._state._replace(metrics=self._no_metrics), order)
        return {name: plain_value(value) for name, value in sorted(logs.items())}

    def _validate(self, test: Epoch) -> Logs:
        assert self._request.validation is not None
        with self._seen_by_callbacks():
            self._hooks.on_test_begin()
        logs = self._run(test, np.arange(len(self._request.validation)))
        with self._seen_by_callbacks():
            self._hooks.on_test_end(dict(logs))
        return {f"val_{name}": value for name, value in logs.items()}

    @contextmanager
    def _seen_by_callbacks(self) -> Iterator[None]:
        """The model has the state while callbacks run, and what they change in it is kept."""
        if not self._request.callbacks:
            yield
            return
        self.synchronise()
        yield
        self._state = state_of(self._model)


def _create_variables(request: FitRequest) -> None:
    """Let Keras create what it creates at the beginning of a fit, and train nothing.

    Metrics and the optimizer get their variables there, from the shapes of the first batch.
    """
    rows = request.training
    batches = EpochBatches(rows, request.batch_size, as_they_stand(len(rows)))
    request.model.fit(batches, epochs=0, verbose=0)
