"""Class labels to what a loss wants, and a model's outputs back to labels and probabilities."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from ..engine.rows import Arrays
from ..errors import InvalidData, TargetMismatch
from . import losses
from .heads import Head, Heads


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
        numbers = numbers_of(y, self.classes)
        if self._head.units == 1:
            return numbers.astype("float32").reshape(-1, 1)
        if self._numbers:
            return numbers.astype("int32")
        return np.eye(self._head.units, dtype="float32")[numbers]

    def probabilities(self, output: np.ndarray) -> np.ndarray:
        """Shape (n_samples, n_classes)."""
        output = output.reshape(len(output), -1)
        if len(self.classes) == 1:
            return np.ones((len(output), 1), dtype=output.dtype)
        if output.shape[1] == 1:
            positive = self._of_single_unit(output[:, 0])
            return np.column_stack([1 - positive, positive])
        if self._logits:
            return _shares(sigmoid(output)) if self._independent else softmax(output)
        return _shares(output) if self._independent else output

    def decide(self, output: np.ndarray) -> np.ndarray:
        return self.classes[self.probabilities(output).argmax(axis=1)]

    def _of_single_unit(self, output: np.ndarray) -> np.ndarray:
        if self._logits:
            return sigmoid(output)
        return np.clip((output + 1) / 2, 0, 1) if self._margin else output


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
            raise _wrong_units(head, f"y has {n_labels} labels", n_labels)
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
        output = output.reshape(len(output), -1)
        return sigmoid(output) if self._logits else output

    def decide(self, output: np.ndarray) -> np.ndarray:
        return (self.probabilities(output) > 0.5).astype(self._dtype)


class ClassTarget:
    """The target of a classifier: what y is, and once the model is known, how it is encoded.

    Parameters
    ----------
    y : array of shape (n_samples,) or (n_samples, n_outputs)
    classes : array-like or None
        All classes there are, where y may lack some.
    """

    def __init__(self, y: np.ndarray, classes: Any = None) -> None:
        check_classification_targets(y)
        self.kind = _kind(y, classes)
        self._row_shape = y.shape[1:]
        self._dtype = y.dtype
        self._seen = self._classes_of(y, classes)
        self._codecs: list[Any] = []
        self._heads: Heads | None = None

    def _classes_of(self, y: np.ndarray, classes: Any) -> list[np.ndarray]:
        if self.kind in ("multiclass-onehot", "multilabel-indicator"):
            return [np.arange(y.shape[1])]
        if y.ndim == 2:
            return [np.unique(column) for column in y.T]
        seen = np.unique(y)
        if classes is None:
            return [seen]
        known = np.unique(np.asarray(classes))
        missing = np.setdiff1d(seen, known)
        if missing.size:
            raise InvalidData(
                f"y has the labels {missing.tolist()}, which classes={known.tolist()} lacks."
            )
        return [known]

    def state(self) -> dict[str, Any]:
        """What tells this target, without its labels, in JSON's types."""
        return {"kind": self.kind, "row_shape": self._row_shape, "dtype": self._dtype.str}

    def label_arrays(self) -> list[np.ndarray]:
        """The classes of each column of y, as y and ``classes=`` had them."""
        return self._seen

    @classmethod
    def from_state(cls, state: dict[str, Any], label_arrays: list[np.ndarray]) -> ClassTarget:
        target = cls.__new__(cls)
        target.kind = state["kind"]
        target._row_shape = tuple(state["row_shape"])
        target._dtype = np.dtype(state["dtype"])
        target._seen = label_arrays
        target._codecs, target._heads = [], None
        return target

    @property
    def classes(self) -> Any:
        """The classes, sorted; for several outputs a list of such arrays."""
        found = [codec.classes for codec in self._codecs] or self._seen
        return found[0] if len(found) == 1 else found

    @property
    def n_classes(self) -> Any:
        classes = self.classes
        return [len(c) for c in classes] if isinstance(classes, list) else len(classes)

    @property
    def n_outputs(self) -> int:
        return 1 if not self._row_shape else self._row_shape[0]

    def describe(self) -> dict[str, Any]:
        """What a builder may want to know of y."""
        several = self.kind == "multiclass-multioutput"
        return {
            "classes_": self.classes,
            "n_classes_": self.n_classes,
            "n_outputs_": self.n_outputs,
            "n_outputs_expected_": self.n_outputs if several else 1,
            "target_type_": self.kind,
        }

    def default_losses(self, heads: Heads) -> Any:
        """The loss of each output, when the user gave none."""
        self._check_outputs(heads)
        if len(heads) == 1:
            head, n_classes = heads.outputs[0], len(self._seen[0])
            return heads.pack([losses.loss_for_classes(head, self.kind, n_classes)])
        columns = self._column_classes()
        return heads.pack(
            [
                losses.loss_for_classes(head, "multiclass" if len(c) > 2 else "binary", len(c))
                for head, c in zip(heads.outputs, columns, strict=True)
            ]
        )

    def fit_to(self, heads: Heads, head_losses: list[Any]) -> None:
        """Settle how y is encoded for the model's outputs and losses.

        Raises
        ------
        TargetMismatch
            When an output or a loss does not fit y.
        """
        self._check_outputs(heads)
        self._heads = heads
        if len(heads) > 1:
            columns = self._column_classes()
            parts = zip(columns, heads.outputs, head_losses, strict=True)
            self._codecs = [Labels(classes, head, loss) for classes, head, loss in parts]
        else:
            self._codecs = [self._single_codec(heads.outputs[0], head_losses[0])]

    def encode(self, y: np.ndarray) -> Arrays:
        """y in the structure and form that the model's losses want."""
        assert self._heads is not None
        if y.shape[1:] != self._row_shape:
            raise InvalidData(f"y must have rows of shape {self._row_shape}; got {y.shape[1:]}.")
        if len(self._codecs) == 1:
            return self._heads.pack([self._codecs[0].encode(y)])
        columns = zip(self._codecs, y.T, strict=True)
        return self._heads.pack([codec.encode(column) for codec, column in columns])

    def probabilities(self, outputs: Arrays) -> Any:
        """One array (n_samples, n_classes), or a list of them for several outputs."""
        found = self._each("probabilities", outputs)
        return found[0] if len(found) == 1 else found

    def decide(self, outputs: Arrays) -> np.ndarray:
        """Labels in the form of y."""
        found = self._each("decide", outputs)
        return found[0] if len(found) == 1 else np.column_stack(found).astype(self._dtype)

    def _each(self, verb: str, outputs: Arrays) -> list[np.ndarray]:
        assert self._heads is not None
        parts = [np.asarray(part) for part in self._heads.unpack(outputs)]
        return [getattr(c, verb)(part) for c, part in zip(self._codecs, parts, strict=True)]

    def _single_codec(self, head: Head, loss: Any) -> Any:
        n_columns = len(self._seen[0])
        if self.kind == "multilabel-indicator":
            return Indicators(n_columns, head, loss, self._dtype)
        if self.kind == "multiclass-onehot":
            if head.units != n_columns:
                raise _wrong_units(head, f"y is one-hot with {n_columns} columns", n_columns)
            one_of_them = losses.is_categorical(loss) or head.activation == "softmax"
            codec = OneHot if one_of_them else Indicators
            return codec(n_columns, head, loss, self._dtype)
        return Labels(self._seen[0], head, loss)

    def _column_classes(self) -> list[np.ndarray]:
        if self.kind in ("multiclass-onehot", "multilabel-indicator"):
            return [np.array([0, 1], dtype=self._dtype)] * self.n_outputs
        return self._seen

    def _check_outputs(self, heads: Heads) -> None:
        columns = self.n_outputs if self._row_shape else 1
        if len(heads) > 1 and len(heads) != columns:
            raise TargetMismatch(
                f"The model has {len(heads)} outputs, but y has {columns} "
                f"column{'s' * (columns > 1)}; it needs one column for each output."
            )
        if len(heads) == 1 and self.kind == "multiclass-multioutput":
            raise TargetMismatch(
                f"y has {columns} columns of classes, so the model needs {columns} outputs, one "
                "for each column; it has 1."
            )


def read_classes(y: Any) -> np.ndarray:
    """y as an array of labels: (n_samples,), or (n_samples, n_outputs) for several columns."""
    if y is None:
        raise InvalidData("This classifier requires y to be passed, but the target y is None.")
    y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise InvalidData("Input y contains NaN or infinity.")
    if y.dtype.kind == "O" and any(value != value for value in y.ravel()):
        raise InvalidData("Input y contains NaN.")
    if y.ndim == 2 and y.shape[1] == 1:
        return column_or_1d(y, warn=True)
    if y.ndim not in (1, 2):
        raise InvalidData(f"y must have 1 or 2 dimensions; got an array of shape {y.shape}.")
    return y


def numbers_of(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The place of each label in ``classes``."""
    unknown = np.setdiff1d(y, classes)
    if unknown.size:
        raise InvalidData(
            f"y has the labels {unknown[:10].tolist()}, which are not among the classes "
            f"{classes.tolist()} of fit. Give classes=[...] with all of them."
        )
    return np.searchsorted(classes, y)


def _kind(y: np.ndarray, classes: Any) -> str:
    with warnings.catch_warnings():
        # "more than half as many classes as samples": small folds have that, and it is no fault.
        warnings.simplefilter("ignore", UserWarning)
        kind = type_of_target(y)
    if kind == "multilabel-indicator" and (y.sum(axis=1) == 1).all():
        return "multiclass-onehot"
    if kind == "binary" and classes is not None and len(np.unique(np.asarray(classes))) > 2:
        return "multiclass"
    return str(kind)


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
        if losses.is_of_several_units(loss):
            raise TargetMismatch(
                f"loss={losses.loss_name(loss)!r} needs one unit per class, but {head} has 1 "
                "unit. Use loss='binary_crossentropy', or one unit per class with a softmax."
            )
        if n_classes > 2:
            raise _wrong_units(head, f"y has {n_classes} classes", n_classes)
        return classes
    if units == n_classes:
        return classes
    whole = classes.dtype.kind in "iuf" and np.array_equal(classes, classes.astype("int64"))
    if units > n_classes and whole and classes[0] >= 0 and classes[-1] < units:
        return np.arange(units).astype(classes.dtype)
    raise _wrong_units(head, f"y has {n_classes} classes", n_classes)


def _wrong_units(head: Head, target: str, wanted: int) -> TargetMismatch:
    advice = f"End the model with {wanted} units"
    if head.units > wanted:
        advice += ", or give classes=[...] with all classes if this y lacks some"
    unit = "unit" if head.units == 1 else "units"
    return TargetMismatch(f"{target}, but {head} has {head.units} {unit}. {advice}.")


def sigmoid(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -values)).astype(values.dtype)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _shares(values: np.ndarray) -> np.ndarray:
    """Independent probabilities as shares of one, as scikit-learn's one-versus-rest does."""
    return values / np.maximum(values.sum(axis=1, keepdims=True), np.finfo(values.dtype).tiny)
