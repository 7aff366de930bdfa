"""The target of a classifier: what y is, and how a model's outputs and losses want it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from ..engine.rows import Arrays
from ..errors import InvalidData, InvalidParameter, TargetMismatch
from . import losses
from .class_codecs import Indicators, Labels, OneHot, wrong_units
from .heads import Head, Heads


class ClassTarget:
    """The target of a classifier: what y is, and once the model is known, how it is encoded.

    Parameters
    ----------
    y : array of shape (n_samples,) or (n_samples, n_outputs)
    classes : array-like or None
        All classes there are, where y may lack some.
    """

    def __init__(self, y: np.ndarray, classes: Any = None) -> None:
        if not are_plain_labels(y):
            for part in columns_of(y) if y.ndim == 2 and y.dtype.kind == "O" else [y]:
                _check_labels(part)
        self.kind = _kind(y, classes)
        self._row_shape = y.shape[1:]
        self._dtype = y.dtype
        self._seen = self._classes_of(y, classes)
        self._codecs: list[Any] = []
        self._heads: Heads | None = None

    def _classes_of(self, y: np.ndarray, classes: Any) -> list[np.ndarray]:
        if self.kind in ("multiclass-onehot", "multilabel-indicator"):
            return [np.arange(y.shape[1])]
        if y.ndim == 1:
            return [_all_classes(y, classes)]
        if classes is None:
            return [np.unique(column) for column in columns_of(y)]
        if len(classes) != y.shape[1]:
            raise InvalidParameter(
                f"classes must be a list with the classes of each of the {y.shape[1]} columns of "
                f"y; got {classes!r}."
            )
        return [
            _all_classes(column, part) for column, part in zip(columns_of(y), classes, strict=True)
        ]

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

    def describe(self, n_samples: int) -> dict[str, Any]:
        """What a builder may want to know of y."""
        several = self.kind == "multiclass-multioutput"
        return {
            "classes_": self.classes,
            "n_classes_": self.n_classes,
            "n_outputs_": self.n_outputs,
            "n_outputs_expected_": self.n_outputs if several else 1,
            "target_type_": self.kind,
            "y_shape_": (n_samples, *self._row_shape),
            "y_dtype_": self._dtype,
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
        columns = zip(self._codecs, columns_of(y), strict=True)
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
                raise wrong_units(head, f"y is one-hot with {n_columns} columns", n_columns)
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
    if y.dtype.kind == "O" and any(map(_is_missing, y.ravel())):
        raise InvalidData("Input y contains NaN: some labels are missing.")
    if y.dtype.kind == "O" and y.ndim == 1:  # numbers of pandas's nullable types come as objects
        typed = np.asarray(y.tolist())
        y = typed if typed.dtype.kind in "biuf" else y
    if y.ndim == 2 and y.shape[1] == 1:
        return column_or_1d(y, warn=True)
    if y.ndim not in (1, 2):
        raise InvalidData(f"y must have 1 or 2 dimensions; got an array of shape {y.shape}.")
    return y


def are_plain_labels(y: Any) -> bool:
    """Whether these are whole numbers that scikit-learn has nothing to say against.

    It warns of labels of which most occur but once.
    """
    if type(y) is not np.ndarray or y.ndim != 1 or y.dtype.kind not in "biu":
        return False
    return 0 < 2 * len(np.unique(y)) <= len(y)


def _check_labels(labels: np.ndarray) -> None:
    try:
        check_classification_targets(labels)
    except ValueError as error:
        raise InvalidData(f"y must hold class labels. {error}") from error


def columns_of(y: np.ndarray) -> list[np.ndarray]:
    """The columns of y, each with a type of its own where y has one for all only."""
    return [np.asarray(c.tolist()) if y.dtype.kind == "O" else c for c in y.T]


def _all_classes(labels: np.ndarray, classes: Any) -> np.ndarray:
    seen = np.unique(labels)
    if classes is None:
        return seen
    known = np.unique(np.asarray(classes))
    missing = [label for label in seen.tolist() if label not in known.tolist()]
    if missing:
        raise InvalidData(f"y has the labels {missing}, which classes={known.tolist()} lacks.")
    return known


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:  # pandas.NA is neither equal to itself nor not
        return True


def _kind(y: np.ndarray, classes: Any) -> str:
    if y.ndim == 2 and y.dtype.kind == "O":  # columns of different kinds, as in a data frame
        return "multiclass-multioutput"
    if y.ndim == 1 and y.dtype.kind in "biu":
        kind = "multiclass" if len(np.unique(y)) > 2 else "binary"
    else:
        kind = _type_of_target(y)
    if kind == "multilabel-indicator" and (y.sum(axis=1) == 1).all():
        return "multiclass-onehot"
    single = y.ndim == 1 and classes is not None
    if kind == "binary" and single and len(np.unique(np.asarray(classes))) > 2:
        return "multiclass"
    return str(kind)


def _type_of_target(y: np.ndarray) -> str:
    with warnings.catch_warnings():
        # "more than half as many classes as samples": small folds have that, and it is no fault.
        warnings.simplefilter("ignore", UserWarning)
        return str(type_of_target(y))
