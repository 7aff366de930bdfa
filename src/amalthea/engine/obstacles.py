"""Why a request needs Keras's own loop."""

from __future__ import annotations

import keras

from .requests import FitRequest, PredictRequest
from .rows import Rows, leaves
from .stand_ins import stand_in_suffices

_STEPS = (
    "train_step",
    "test_step",
    "predict_step",
    "reset_metrics",
    "make_train_function",
    "make_test_function",
    "make_predict_function",
    "fit",
    "evaluate",
    "predict",
)
_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_batch_begin",
    "on_test_batch_end",
)


class NeedsKeras(Exception):
    """A request that Keras's own loop has to answer after all; the message says why."""


def why_not_compiled(request: FitRequest) -> str | None:
    """Why a fit needs Keras's own loop, or None when it does not."""
    parts = [request.training, *([request.validation] if request.validation else [])]
    return (
        _of_model(request.model, training=True)
        or _of_rows(parts)
        or ("verbose shows Keras's progress" if request.verbose else None)
        or _of_callbacks(request)
    )


def why_not_kept(request: FitRequest) -> str | None:
    """Why a fit has to change its own model, or None when the values can be handed over."""
    optimizer = request.model.optimizer
    if request.callbacks:
        return "callbacks see the model"
    if type(optimizer).__module__.partition(".")[0] != "keras" or optimizer.use_ema:
        return "the optimizer changes the weights at the end"
    if hasattr(optimizer, "inner_optimizer"):
        return "the optimizer holds another one"
    return why_not_compiled(request)


def why_not_predicted(request: PredictRequest) -> str | None:
    """Why a prediction needs Keras's own loop, or None when it does not."""
    if request.callbacks or request.verbose:
        return "callbacks or verbose"
    return _of_model(request.model, training=False) or _of_rows([Rows(request.x, None)])


def _of_model(model: keras.Model, training: bool) -> str | None:
    if keras.backend.backend() != "jax":
        return f"the backend is {keras.backend.backend()}, not jax"
    if keras.distribution.distribution() is not None:
        return "a keras.distribution is set"
    if keras.config.max_epochs() or keras.config.max_steps_per_epoch():
        return "KERAS_MAX_EPOCHS or KERAS_MAX_STEPS_PER_EPOCH is set"
    for name in _STEPS:
        if getattr(type(model), name) is not getattr(keras.Model, name):
            return f"{type(model).__name__} has a {name} of its own"
    if training and (model.run_eagerly or not model.jit_compile):
        return "the model was compiled to run eagerly or without XLA"
    if training and model.steps_per_execution != 1:
        return "steps_per_execution is not 1"
    return None


def _of_rows(parts: list[Rows]) -> str | None:
    for rows in parts:
        for array in leaves((rows.x, rows.y, rows.sample_weight)):
            if hasattr(array, "toarray"):
                return "X is sparse"
            if array.dtype.kind not in "biuf":
                return f"X or y is of {array.dtype}"
    return None


def _of_callbacks(request: FitRequest) -> str | None:
    if stand_in_suffices(request.callbacks, request.model):
        return None
    for callback in request.callbacks:
        for name in _BATCH_HOOKS:
            own = getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name)
            if own or name in vars(callback):
                return f"{type(callback).__name__} follows every batch"
    return None
