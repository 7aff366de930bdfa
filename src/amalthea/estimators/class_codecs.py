"""One output of a classifier: labels to what its loss wants, and its values back to labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.rows import in_numpy_floats
from ..errors import InvalidData, TargetMismatch
from . import losses
from .heads import Head


class Labels:
    """One column of labels, and the output of the model that predicts it.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted. Column ``j`` of the probabilities belongs to ``classes[j]``.
    head : Head
    loss : str, callable or None
        As the model was compiled.
    """

    def __init__(self, classes: np.ndarray, head: Head, loss: Any) -> None:
        self.classes = _columns(classes, head, loss)
        self._head = head
        self._numbers = not losses.wants_columns(loss)
        self._logits = losses.takes_logits(loss)
        self._margin = losses.is_margin(loss)
        self._independent = head.units > 1 and losses.loss_name(loss).startswith("binary")

    def encode(self, y: np.ndarray) -> np.ndarray:
        numbers = _numbers_of(y, self.classes)
        if self._head.units == 1:
            return numbers.astype("float32").reshape(-1, 1)
        if self._numbers:
            return numbers.astype("int32")
        return np.eye(self._head.units, dtype="float32")[numbers]

    def probabilities(self, output: np.ndarray) -> np.ndarray:
        """Shape (n_samples, n_classes)."""
        narrow = output.dtype not in ("float32", "float64")  # bfloat16 sums to 1 within a percent
        output = in_numpy_floats(output).reshape(len(output), -1)
        if len(self.classes) == 1:
            return np.ones((len(output), 1), dtype=output.dtype)
        if output.shape[1] == 1:
            positive = self._of_single_unit(output[:, 0])
            return np.column_stack([1 - positive, positive])
        if self._logits:
            return _shares(_sigmoid(output)) if self._independent else _softmax(output)
        # A linear output under a loss that is not of logits is no probability.
        inside = np.clip(output, 0, 1)
        uneven = self._independent or narrow or (inside != output).any()
        return _shares(inside) if uneven else output

    def decide(self, output: np.ndarray) -> np.ndarray:
        output = in_numpy_floats(output).reshape(len(output), -1)
        several = output.shape[1] > 1 and len(self.classes) > 1
        scores = output if several else self.probabilities(output)
        return self.classes[scores.argmax(axis=1)]

    def _of_single_unit(self, output: np.ndarray) -> np.ndarray:
        if self._logits:
            return _sigmoid(output)
        return np.clip((output + 1) / 2 if self._margin else output, 0, 1)


class OneHot:
    """A one-hot target of shape (n_samples, n_classes); predictions have the same form."""

    def __init__(self, n_classes: int, head: Head, loss: Any, dtype: np.dtype) -> None:
        self._labels = Labels(np.arange(n_classes), head, loss)
        self.classes = self._labels.classes
        # A loss that Keras does not know gets the target as it is.
        self._as_it_is = not losses.wants_numbers(loss)
        self._dtype = dtype

    def encode(self, y: np.ndarray) -> np.ndarray:
        return y.astype("float32") if self._as_it_is else self._labels.encode(y.argmax(axis=1))

    def probabilities(self, output: np.ndarray) -> np.ndarray:
        return self._labels.probabilities(output)

    def decide(self, output: np.ndarray) -> np.ndarray:
        return np.eye(len(self.classes), dtype=self._dtype)[self.probabilities(output).argmax(1)]


class Indicators:
    """A target of shape (n_samples, n_labels) in which every label is or is not there."""

    def __init__(self, n_labels: int, head: Head, loss: Any, dtype: np.dtype) -> None:
        if head.units != n_labels:
            raise wrong_units(head, f"y has {n_labels} labels", n_labels)
        if losses.is_categorical(loss):
            raise TargetMismatch(
                f"loss={losses.loss_name(loss)!r} says that one label of each row is right, but "
                "some rows of y have none or several. Use loss='binary_crossentropy'."
            )
        self.classes = np.arange(n_labels)
        self._logits = losses.takes_logits(loss)
        self._dtype = dtype

    def encode(self, y: np.ndarray) -> np.ndarray:
        return y.astype("float32")

    def probabilities(self, output: np.ndarray) -> np.ndarray:
        output = in_numpy_floats(output).reshape(len(output), -1)
        return _sigmoid(output) if self._logits else output

    def decide(self, output: np.ndarray) -> np.ndarray:
        return (self.probabilities(output) > 0.5).astype(self._dtype)


def _numbers_of(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The place of each label in ``classes``."""
    if y.dtype.kind == classes.dtype.kind:
        places = np.searchsorted(classes, y)
        if (classes.take(places, mode="clip") == y).all():
            return places
    unknown = np.setdiff1d(y, classes)
    if unknown.size:
        raise InvalidData(
            f"y has the labels {unknown[:10].tolist()}, which are not among the classes "
            f"{classes.tolist()} of fit. Give classes=[...] with all of them."
        )
    return np.searchsorted(classes, y)


def _columns(classes: np.ndarray, head: Head, loss: Any) -> np.ndarray:
    """The classes of the output's columns, which may be more than those that y has.

    A fold may lack a class. Where labels are numbers from 0, a class's column is its number.
    """
    n_classes, units = len(classes), head.units
    if len(head.shape) > 1:
        raise TargetMismatch(
            f"y has one label per row, but {head} has rows of shape {head.shape}; add a Flatten "
            "or pooling layer."
        )
    if units == 1:
        if losses.is_categorical(loss):
            raise TargetMismatch(
                f"loss={losses.loss_name(loss)!r} needs one unit per class, but {head} has 1 "
                "unit. Use loss='binary_crossentropy', or one unit per class with a softmax."
            )
        if n_classes > 2:
            raise wrong_units(head, f"y has {n_classes} classes", n_classes)
        return classes
    if units == n_classes:
        return classes
    whole = classes.dtype.kind in "iuf" and np.array_equal(classes, classes.astype("int64"))
    if units > n_classes and whole and classes[0] >= 0 and classes[-1] < units:
        return np.arange(units).astype(classes.dtype)
    raise wrong_units(head, f"y has {n_classes} classes", n_classes)


def wrong_units(head: Head, target: str, wanted: int) -> TargetMismatch:
    advice = f"End the model with {wanted} units"
    if head.units > wanted:
        advice += ", or give classes=[...] with all classes if this y lacks some"
    unit = "unit" if head.units == 1 else "units"
    return TargetMismatch(f"{target}, but {head} has {head.units} {unit}. {advice}.")


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -values)).astype(values.dtype)


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _shares(values: np.ndarray) -> np.ndarray:
    """Independent probabilities as shares of one, as scikit-learn's one-versus-rest does."""
    return values / np.maximum(values.sum(axis=1, keepdims=True), np.finfo(values.dtype).tiny)
