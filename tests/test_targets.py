"""What y is, how the loss wants it, and how a model's outputs become labels and numbers again.

Every decision is held against what ``keras.Model.predict`` gives on ``estimator.model_``.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import amalthea  # noqa: F401  first, since it chooses the backend of Keras

# isort: split

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score

from amalthea import KerasClassifier, KerasRegressor, errors
from amalthea.engine.requests import FitRequest, FitResult, PredictRequest
from amalthea.engine.trainer import training_with
from amalthea.estimators.class_targets import are_plain_labels
from trainers import OneByOne

# Keras's Variable.__array__ has no copy argument, which NumPy 2 wants.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4)).astype("float32")
NUMBERS = np.arange(24) % 3
BINARY = np.arange(24) % 2
VALUES = RNG.normal(size=(24, 2))
STRINGS = np.array(["ash", "birch", "cedar"])


class Recorder(OneByOne):
    """Trains nothing, and keeps what it was asked to train."""

    def __init__(self) -> None:
        self.requests: list[FitRequest] = []

    def fit(self, request: FitRequest) -> FitResult:
        self.requests.append(request)
        return FitResult({}, [])

    def answer(self, request: PredictRequest) -> Any:
        return _host(request.model(_device(request.x)))


def _device(x: Any) -> Any:
    return keras.tree.map_structure(lambda array: np.asarray(array, dtype="float32"), x)


def _host(outputs: Any) -> Any:
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


@contextmanager
def recorded() -> Any:
    recorder = Recorder()
    with training_with(recorder):
        yield recorder


def encoded(estimator: Any, y: Any, x: Any = X, **fit: Any) -> Any:
    """The target as the loss gets it, without any training."""
    with recorded() as recorder:
        estimator.fit(x, y, **fit)
    return recorder.requests[0].training.y


def head(
    units: int = 3, activation: str | None = "softmax", loss: Any = None, hidden: int = 0
) -> keras.Model:
    model = keras.Sequential([keras.Input((4,))])
    if hidden:
        model.add(keras.layers.Dense(hidden, "relu"))
    model.add(keras.layers.Dense(units, activation))
    if loss is not None:
        model.compile("sgd", loss)
    return model


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def softmax(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def two_columns(p: np.ndarray) -> np.ndarray:
    return np.column_stack([1 - p[:, 0], p[:, 0]])


def as_it_is(z: np.ndarray) -> np.ndarray:
    return z


def one_against_rest(z: np.ndarray) -> np.ndarray:
    return z / z.sum(axis=1, keepdims=True)


CCE, SCCE = keras.losses.CategoricalCrossentropy, keras.losses.SparseCategoricalCrossentropy
BCE = keras.losses.BinaryCrossentropy


@dataclass(frozen=True)
class Case:
    """A head and a loss for one label per row, and what has to come of them."""

    units: int
    activation: str | None
    loss: Any
    form: str  # how the loss gets the target: "column", "numbers" or "one-hot"
    probabilities: Callable[[np.ndarray], np.ndarray]

    @property
    def y(self) -> np.ndarray:
        return BINARY if self.units < 3 else NUMBERS

    def __str__(self) -> str:
        loss = self.loss if isinstance(self.loss, str) or self.loss is None else "logits"
        return f"{self.units}-{self.activation}-{loss}-{type(self.loss).__name__}"


CASES = [
    Case(1, "sigmoid", None, "column", two_columns),
    Case(1, "sigmoid", "binary_crossentropy", "column", two_columns),
    Case(1, "sigmoid", "mse", "column", two_columns),
    Case(1, "sigmoid", "binary_focal_crossentropy", "column", two_columns),
    Case(1, None, BCE(from_logits=True), "column", lambda z: two_columns(sigmoid(z))),
    Case(1, "tanh", "hinge", "column", lambda z: two_columns((z + 1) / 2)),
    Case(2, "softmax", None, "numbers", as_it_is),
    Case(2, "softmax", "sparse_categorical_crossentropy", "numbers", as_it_is),
    Case(2, "softmax", "categorical_crossentropy", "one-hot", as_it_is),
    Case(2, "softmax", "binary_crossentropy", "one-hot", one_against_rest),
    Case(2, None, SCCE(from_logits=True), "numbers", softmax),
    Case(3, "softmax", None, "numbers", as_it_is),
    Case(3, "softmax", "sparse_categorical_crossentropy", "numbers", as_it_is),
    Case(3, "softmax", "categorical_crossentropy", "one-hot", as_it_is),
    Case(3, "softmax", "categorical_focal_crossentropy", "one-hot", as_it_is),
    Case(3, "softmax", "kl_divergence", "one-hot", as_it_is),
    Case(3, "softmax", "kld", "one-hot", as_it_is),
    Case(3, "softmax", keras.losses.KLDivergence(), "one-hot", as_it_is),
    Case(3, "softmax", "mse", "one-hot", as_it_is),
    Case(3, "softmax", keras.losses.categorical_crossentropy, "one-hot", as_it_is),
    Case(3, None, SCCE(from_logits=True), "numbers", softmax),
    Case(3, None, CCE(from_logits=True), "one-hot", softmax),
    Case(3, "sigmoid", "binary_crossentropy", "one-hot", one_against_rest),
    Case(3, None, BCE(from_logits=True), "one-hot", lambda z: one_against_rest(sigmoid(z))),
]

LABELS = {
    "numbers from zero": np.array([0, 1, 2]),
    "strings": STRINGS,
    "objects": STRINGS.astype(object),
    "far numbers": np.array([7, 10, 300]),
    "negative numbers": np.array([-1, 0, 1]),
    "whole floats": np.array([0.0, 1.0, 2.0]),
    "bytes": np.array([1, 2, 5], dtype="uint8"),
    "booleans": np.array([False, True]),
}


# --- one label per row ---------------------------------------------------------------------------


@pytest.mark.parametrize("compiles", [False, True], ids=["uncompiled", "compiled"])
@pytest.mark.parametrize("case", CASES)
def test_labels_reach_the_loss_in_its_form_and_outputs_become_labels(
    case: Case, compiles: bool
) -> None:
    params: dict[str, Any] = {"units": case.units, "activation": case.activation, "epochs": 0}
    params |= {"model__loss": case.loss} if compiles else {}
    estimator = KerasClassifier(head_without_loss if not compiles else head, **params)
    if not compiles:
        estimator.set_params(loss=case.loss)
    names = STRINGS[: max(case.units, 2)]
    target = encoded(estimator, names[case.y])
    n_classes = len(names)
    wanted = {
        "column": case.y.reshape(-1, 1),
        "numbers": case.y,
        "one-hot": np.eye(n_classes)[case.y],
    }
    np.testing.assert_array_equal(target, wanted[case.form])

    outputs = keras.ops.convert_to_numpy(estimator.model_(X))
    probabilities = case.probabilities(outputs)
    with training_with(Recorder()):
        given, labels = estimator.predict_proba(X), estimator.predict(X)
        score = estimator.score(X, names[case.y])
    np.testing.assert_array_equal(estimator.classes_, names)
    np.testing.assert_allclose(given, probabilities, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(labels, names[probabilities.argmax(axis=1)])
    assert score == pytest.approx(np.mean(labels == names[case.y]))
    assert given.shape == (24, n_classes)
    np.testing.assert_allclose(given.sum(axis=1), 1, rtol=1e-5)


def head_without_loss(units: int = 3, activation: str | None = "softmax") -> keras.Model:
    return head(units, activation)


@pytest.mark.parametrize("case", [case for case in CASES if case.loss is not None][::2])
def test_the_loss_of_the_encoded_target_is_the_one_a_user_would_compute(case: Case) -> None:
    """A target of the wrong shape would broadcast, and train on nonsense without an error."""
    estimator = KerasClassifier(head, units=case.units, activation=case.activation, loss=case.loss)
    target = encoded(estimator, case.y)
    outputs = estimator.model_(X)
    loss = keras.losses.get(case.loss)
    if case.form == "column":
        by_hand = [loss(np.float32([[t]]), o[None]) for t, o in zip(case.y, outputs, strict=True)]
    elif case.form == "numbers":
        by_hand = [loss(np.int32([t]), o[None]) for t, o in zip(case.y, outputs, strict=True)]
    else:
        rows = np.eye(case.units, dtype="float32")[case.y]
        by_hand = [loss(t[None], o[None]) for t, o in zip(rows, outputs, strict=True)]
    mean = np.mean([np.mean(keras.ops.convert_to_numpy(value)) for value in by_hand])
    whole = estimator.model_.compute_loss(X, target, outputs, None)
    assert float(whole) == pytest.approx(float(mean), rel=1e-4)


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("form", ["sigmoid", "softmax", "one-hot"])
def test_any_labels_come_back_as_they_were_given(name: str, form: str) -> None:
    labels = LABELS[name][:2] if form == "sigmoid" else LABELS[name]
    y = labels[np.arange(24) % len(labels)]
    estimator = KerasClassifier(
        head_without_loss,
        units=1 if form == "sigmoid" else len(labels),
        activation="sigmoid" if form == "sigmoid" else "softmax",
        loss="categorical_crossentropy" if form == "one-hot" else None,
    )
    with recorded():
        estimator.fit(X, y)
        predicted = estimator.predict(X)
    assert predicted.dtype == y.dtype
    assert set(predicted.tolist()) <= set(labels.tolist())
    np.testing.assert_array_equal(estimator.classes_, labels)
    assert estimator.n_classes_ == len(labels)
    assert estimator.target_type_ == ("binary" if len(labels) == 2 else "multiclass")


@pytest.mark.parametrize("kind", ["list", "series", "categorical", "nullable", "polars", "column"])
def test_labels_come_in_any_container(kind: str) -> None:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    y: Any = {
        "list": lambda: STRINGS[NUMBERS].tolist(),
        "series": lambda: pandas.Series(STRINGS[NUMBERS], index=range(100, 124)),
        "categorical": lambda: pandas.Series(STRINGS[NUMBERS], dtype="category"),
        "nullable": lambda: pandas.Series(NUMBERS, dtype="Int64"),
        "polars": lambda: polars.Series("y", STRINGS[NUMBERS].tolist()),
        "column": lambda: pandas.Series(NUMBERS == 1, dtype="boolean"),
    }[kind]()
    estimator = KerasClassifier(head, units=2 if kind == "column" else 3)
    target = encoded(estimator, y)
    np.testing.assert_array_equal(target, NUMBERS == 1 if kind == "column" else NUMBERS)
    assert len(estimator.classes_) == (2 if kind == "column" else 3)


def test_a_column_of_labels_is_taken_as_labels_with_scikit_learns_warning() -> None:
    from sklearn.exceptions import DataConversionWarning

    estimator = KerasClassifier(head)
    with pytest.warns(DataConversionWarning, match="column-vector"):
        target = encoded(estimator, NUMBERS.reshape(-1, 1))
    np.testing.assert_array_equal(target, NUMBERS)


def test_a_loss_of_the_users_own_gets_the_labels_numbers() -> None:
    def own(y_true: Any, y_pred: Any) -> Any:
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

    np.testing.assert_array_equal(
        encoded(KerasClassifier(head_without_loss, loss=own), STRINGS[NUMBERS]), NUMBERS
    )


# --- training for good: labels, probabilities and scores -----------------------------------------


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    """A fit by Keras for each kind of head."""
    separable = X + 3 * np.eye(4, dtype="float32")[NUMBERS]
    fitted = {
        "x": separable,
        "strings": KerasClassifier(head, optimizer="adam", epochs=2, random_state=0),
        "sigmoid": KerasClassifier(head, units=1, activation="sigmoid", epochs=1, random_state=0),
        "numbers": KerasClassifier(head, epochs=1, random_state=0).fit(separable, NUMBERS),
    }
    fitted["strings"].fit(separable, STRINGS[NUMBERS])
    fitted["sigmoid"].fit(separable, NUMBERS == 1)
    return fitted


def test_predictions_are_those_of_keras(trained: dict[str, Any]) -> None:
    x = trained["x"]
    clf = trained["strings"]
    outputs = clf.model_.predict(x, verbose=0)
    np.testing.assert_allclose(clf.predict_proba(x), outputs, rtol=1e-6)
    np.testing.assert_array_equal(clf.predict(x), STRINGS[outputs.argmax(axis=1)])
    assert clf.score(x, STRINGS[NUMBERS]) == accuracy_score(STRINGS[NUMBERS], clf.predict(x))
    binary = trained["sigmoid"]
    positive = binary.model_.predict(x, verbose=0)[:, 0]
    np.testing.assert_allclose(binary.predict_proba(x)[:, 1], positive, rtol=1e-6)
    np.testing.assert_array_equal(binary.predict(x), positive > 0.5)
    assert binary.predict(x).dtype == bool


@pytest.mark.parametrize("name, n_classes", [("strings", 3), ("sigmoid", 2)])
def test_the_probabilities_of_a_single_row_are_one_row(
    trained: dict[str, Any], name: str, n_classes: int
) -> None:
    single = trained[name].predict_proba(trained["x"][:1])
    assert single.shape == (1, n_classes)
    np.testing.assert_array_equal(single, trained[name].predict_proba(trained["x"])[:1])
    assert trained[name].predict(trained["x"][:1]).shape == (1,)


@pytest.mark.parametrize(
    ("y", "weights"),
    [
        (NUMBERS, None),
        (NUMBERS.astype("int32"), None),
        (NUMBERS.tolist(), None),
        (NUMBERS, np.arange(24.0)),
        (NUMBERS[:, None], None),
        (np.arange(24), None),
        (NUMBERS == 1, None),
        (NUMBERS * 1.0, None),
    ],
    ids=["int64", "int32", "list", "weights", "column", "mostly unseen", "bool", "float"],
)
def test_the_score_is_scikit_learns_accuracy(trained: dict[str, Any], y: Any, weights: Any) -> None:
    clf = trained["numbers"]
    with warnings.catch_warnings(record=True) as ours:
        warnings.simplefilter("always")
        score = clf.score(X, y, weights)
    with warnings.catch_warnings(record=True) as theirs:
        warnings.simplefilter("always")
        expected = accuracy_score(y, clf.predict(X), sample_weight=weights)
    assert score == expected
    assert [str(w.message) for w in ours] == [str(w.message) for w in theirs]


def test_no_labels_at_all_are_for_scikit_learn_to_refuse() -> None:
    assert not are_plain_labels(np.zeros(0, int))
    assert are_plain_labels(NUMBERS)


@pytest.mark.parametrize("y", [NUMBERS[:-1], np.zeros(0, int), VALUES[:, 0]])
def test_a_target_that_cannot_be_scored_is_told_as_scikit_learn_does(
    trained: dict[str, Any], y: Any
) -> None:
    clf = trained["numbers"]
    with pytest.raises(ValueError) as theirs:
        accuracy_score(y, clf.predict(X))
    with pytest.raises(ValueError) as ours:
        clf.score(X, y)
    assert str(ours.value) == str(theirs.value)


def test_probabilities_serve_scikit_learns_scores(trained: dict[str, Any]) -> None:
    x = trained["x"]
    probabilities = trained["strings"].predict_proba(x)
    assert log_loss(STRINGS[NUMBERS], probabilities) > 0
    assert 0 <= roc_auc_score(STRINGS[NUMBERS], probabilities, multi_class="ovr") <= 1
    assert 0 <= roc_auc_score(NUMBERS == 1, trained["sigmoid"].predict_proba(x)[:, 1]) <= 1


def test_a_fold_that_lacks_a_class_keeps_its_column_in_cross_validation() -> None:
    y = np.array([0] * 11 + [1] * 11 + [2, 2])
    estimator = KerasClassifier(head, epochs=0, random_state=0)
    folds = [(np.arange(22), np.arange(20, 24)), (np.arange(2, 24), np.arange(2))]
    scores = cross_val_score(estimator, X, y, cv=folds, scoring=_columns_score, error_score="raise")
    np.testing.assert_array_equal(scores, [3, 3])


def _columns_score(estimator: Any, x: Any, y: Any) -> float:
    assert estimator.predict_proba(x).shape[1] == len(estimator.classes_)
    return float(len(estimator.classes_))


# --- classes that y lacks ------------------------------------------------------------------------


@pytest.mark.parametrize("present", [[0, 1], [1, 2], [0, 2], [1]])
def test_whole_numbers_below_the_number_of_units_are_their_own_columns(present: list[int]) -> None:
    y = np.array(present)[np.arange(24) % len(present)]
    estimator = KerasClassifier(head)
    np.testing.assert_array_equal(encoded(estimator, y), y)
    np.testing.assert_array_equal(estimator.classes_, [0, 1, 2])
    with training_with(Recorder()):
        probabilities = estimator.predict_proba(X)
        outputs = keras.ops.convert_to_numpy(estimator.model_(X))
        np.testing.assert_array_equal(probabilities, outputs)
        np.testing.assert_array_equal(estimator.predict(X), outputs.argmax(axis=1))


@pytest.mark.parametrize("loss", [None, "categorical_crossentropy"])
def test_given_classes_keep_their_columns(loss: Any) -> None:
    estimator = KerasClassifier(head_without_loss, loss=loss, classes=["cedar", "ash", "birch"])
    y = STRINGS[BINARY + 1]
    target = encoded(estimator, y)
    numbers = BINARY + 1
    np.testing.assert_array_equal(target, numbers if loss is None else np.eye(3)[numbers])
    np.testing.assert_array_equal(estimator.classes_, STRINGS)
    assert estimator.target_type_ == "multiclass"


def test_given_classes_keep_the_sense_of_a_single_sigmoid_unit() -> None:
    estimator = KerasClassifier(head, units=1, activation="sigmoid", classes=["no", "yes"])
    target = encoded(estimator, ["yes"] * 24)
    np.testing.assert_array_equal(target, np.ones((24, 1)))
    with training_with(Recorder()):
        assert estimator.predict_proba(X).shape == (24, 2)


def test_booleans_of_one_kind_keep_two_columns_of_a_softmax() -> None:
    estimator = KerasClassifier(head, units=2, classes=[False, True])
    np.testing.assert_array_equal(encoded(estimator, np.ones(24, dtype=bool)), np.ones(24))
    np.testing.assert_array_equal(estimator.classes_, [False, True])


def test_class_weights_may_name_a_class_that_a_fold_lacks() -> None:
    estimator = KerasClassifier(head, class_weight={2: 5.0}, classes=[0, 1, 2])
    with recorded() as recorder:
        estimator.fit(X, NUMBERS)
        estimator.fit(X, BINARY)
    np.testing.assert_array_equal(
        recorder.requests[0].training.sample_weight, np.where(NUMBERS == 2, 5, 1)
    )
    np.testing.assert_array_equal(recorder.requests[1].training.sample_weight, np.ones(24))


def test_partial_fit_takes_all_classes_at_first_and_fewer_rows_later() -> None:
    estimator = KerasClassifier(head, random_state=0)
    with recorded() as recorder:
        estimator.partial_fit(X[:4], STRINGS[[0, 1, 0, 1]], classes=STRINGS)
        estimator.partial_fit(X[:2], STRINGS[[2, 2]])
    np.testing.assert_array_equal(recorder.requests[0].training.y, [0, 1, 0, 1])
    np.testing.assert_array_equal(recorder.requests[1].training.y, [2, 2])
    assert recorder.requests[0].model is recorder.requests[1].model


# --- one-hot and multilabel ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int64", "float64", "bool", "uint8"])
@pytest.mark.parametrize(
    "loss, form",
    [
        (None, "one-hot"),
        ("categorical_crossentropy", "one-hot"),
        ("sparse_categorical_crossentropy", "numbers"),
        ("kl_divergence", "one-hot"),
        ("mse", "one-hot"),
    ],
)
def test_a_one_hot_target_is_predicted_in_one_hot(loss: Any, form: str, dtype: str) -> None:
    y = np.eye(3)[NUMBERS].astype(dtype)
    estimator = KerasClassifier(head_without_loss, loss=loss)
    target = encoded(estimator, y)
    np.testing.assert_array_equal(target, y if form == "one-hot" else NUMBERS)
    with training_with(Recorder()):
        predicted, probabilities = estimator.predict(X), estimator.predict_proba(X)
        score = estimator.score(X, y)
    outputs = keras.ops.convert_to_numpy(estimator.model_(X))
    np.testing.assert_array_equal(probabilities, outputs)
    np.testing.assert_array_equal(predicted, np.eye(3)[outputs.argmax(axis=1)])
    assert predicted.dtype == y.dtype and predicted.shape == y.shape
    assert score == np.mean(outputs.argmax(axis=1) == NUMBERS)
    np.testing.assert_array_equal(estimator.classes_, [0, 1, 2])
    assert estimator.target_type_ == "multiclass-onehot"


def test_a_one_hot_target_may_lack_a_class() -> None:
    y = np.eye(3, dtype=int)[BINARY]
    np.testing.assert_array_equal(encoded(KerasClassifier(head), y), y)


@pytest.mark.parametrize("kind", ["list", "frame", "sparse", "polars"])
def test_a_one_hot_target_comes_in_any_container(kind: str) -> None:
    y = np.eye(3, dtype=int)[NUMBERS]
    given: Any = {
        "list": y.tolist,
        "frame": lambda: pytest.importorskip("pandas").DataFrame(y, columns=list("abc")),
        "sparse": lambda: pytest.importorskip("scipy.sparse").csr_matrix(y),
        "polars": lambda: pytest.importorskip("polars").DataFrame(y, schema=list("abc")),
    }[kind]()
    np.testing.assert_array_equal(encoded(KerasClassifier(head), given), y)


def test_a_one_hot_target_is_weighed_and_held_out_by_class() -> None:
    y = np.eye(3)[[0] * 16 + [1] * 4 + [2] * 4]
    estimator = KerasClassifier(
        head, class_weight="balanced", validation_split=0.25, random_state=0
    )
    with recorded() as recorder:
        estimator.fit(X, y)
    request = recorder.requests[0]
    assert request.validation is not None
    np.testing.assert_array_equal(request.validation.y.sum(axis=0), [4, 1, 1])
    by_class = 18 / 3 / np.array([12, 3, 3])
    np.testing.assert_allclose(
        request.training.sample_weight, by_class[request.training.y.argmax(axis=1)]
    )


MULTILABEL = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]] * 6)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float64"])
@pytest.mark.parametrize(
    "activation, loss",
    [("sigmoid", None), ("sigmoid", "binary_crossentropy"), (None, BCE(from_logits=True))],
    ids=["chosen", "given", "logits"],
)
def test_each_label_of_several_is_decided_for_itself(
    activation: Any, loss: Any, dtype: str
) -> None:
    y = MULTILABEL.astype(dtype)
    estimator = KerasClassifier(head_without_loss, activation=activation, loss=loss)
    np.testing.assert_array_equal(encoded(estimator, y), y)
    outputs = keras.ops.convert_to_numpy(estimator.model_(X))
    probabilities = outputs if activation else sigmoid(outputs)
    with training_with(Recorder()):
        np.testing.assert_allclose(estimator.predict_proba(X), probabilities, rtol=1e-5)
        predicted = estimator.predict(X)
        score = estimator.score(X, y)
    np.testing.assert_array_equal(predicted, probabilities > 0.5)
    assert predicted.dtype == y.dtype and predicted.shape == y.shape
    assert score == np.mean((predicted == y).all(axis=1))


def test_labels_of_which_each_row_happens_to_have_one_are_still_labels_for_sigmoid_units() -> None:
    """A fold of a multilabel target may look one-hot; the model says what is meant."""
    y = np.eye(3, dtype=int)[NUMBERS]
    estimator = KerasClassifier(head_without_loss, activation="sigmoid")
    np.testing.assert_array_equal(encoded(estimator, y), y)
    outputs = keras.ops.convert_to_numpy(estimator.model_(X))
    with training_with(Recorder()):
        np.testing.assert_array_equal(estimator.predict(X), outputs > 0.5)


# --- several outputs -----------------------------------------------------------------------------


def two_heads(structure: str = "list", first: int = 2, second: int = 3) -> keras.Model:
    x = keras.Input((4,))
    hidden = keras.layers.Dense(3, "relu")(x)
    a = keras.layers.Dense(first, "softmax", name="a")(hidden)
    b = keras.layers.Dense(second, "softmax", name="b")(hidden)
    if structure == "tuple":
        return keras.Model(x, (a, b))
    return keras.Model(x, {"a": a, "b": b} if structure == "dict" else [a, b])


def two_sigmoids(structure: str = "list") -> keras.Model:
    x = keras.Input((4,))
    heads = {n: keras.layers.Dense(1, "sigmoid", name=n)(x) for n in ("a", "b")}
    return keras.Model(x, heads if structure == "dict" else list(heads.values()))


def renamed_heads() -> keras.Model:
    """A dict whose keys are not the layers' names."""
    x = keras.Input((4,))
    return keras.Model(
        x,
        {
            "colour": keras.layers.Dense(2, "softmax", name="left")(x),
            "tree": keras.layers.Dense(3, "softmax", name="right")(x),
        },
    )


def value_heads(structure: str = "list") -> keras.Model:
    x = keras.Input((4,))
    heads = {
        "one": keras.layers.Dense(1, name="one")(x),
        "two": keras.layers.Dense(2, name="two")(x),
    }
    return keras.Model(x, heads if structure == "dict" else list(heads.values()))


@pytest.fixture(scope="module", params=["list", "dict", "tuple"])
def two_labels(request: pytest.FixtureRequest) -> Any:
    y = np.column_stack([BINARY, NUMBERS + 5])
    estimator = KerasClassifier(two_heads, structure=request.param, epochs=1, random_state=0)
    return estimator.fit(X, y), y


def test_each_output_learns_its_column(two_labels: Any) -> None:
    estimator, y = two_labels
    outputs = estimator.model_.predict(X, verbose=0)
    parts = list(outputs.values()) if isinstance(outputs, dict) else list(outputs)
    probabilities = estimator.predict_proba(X)
    assert [p.shape for p in probabilities] == [(24, 2), (24, 3)]
    for given, wanted in zip(probabilities, parts, strict=True):
        np.testing.assert_allclose(given, wanted, rtol=1e-6)
    wanted = np.column_stack([parts[0].argmax(axis=1), parts[1].argmax(axis=1) + 5])
    np.testing.assert_array_equal(estimator.predict(X), wanted)
    assert estimator.predict(X).dtype == y.dtype
    assert estimator.score(X, y) == np.mean((wanted == y).all(axis=1))
    assert [c.tolist() for c in estimator.classes_] == [[0, 1], [5, 6, 7]]
    assert estimator.n_classes_ == [2, 3] and estimator.n_outputs_ == 2


def test_several_outputs_survive_a_pickle(two_labels: Any) -> None:
    estimator, _ = two_labels
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_two_sigmoid_units_in_two_outputs_learn_two_columns(structure: str) -> None:
    y = np.column_stack([BINARY, NUMBERS == 1]).astype(int)
    estimator = KerasClassifier(two_sigmoids, structure=structure)
    target = encoded(estimator, y)
    parts = list(target.values()) if structure == "dict" else target
    np.testing.assert_array_equal(np.hstack(parts), y)
    outputs = _host(estimator.model_(X))
    outputs = np.hstack(list(outputs.values()) if structure == "dict" else outputs)
    with training_with(Recorder()):
        np.testing.assert_array_equal(estimator.predict(X), outputs > 0.5)
        assert estimator.predict(X).dtype == y.dtype


def test_strings_in_several_columns_come_back_as_they_were() -> None:
    y = np.column_stack([np.array(["red", "blue"])[BINARY], STRINGS[NUMBERS]])
    estimator = KerasClassifier(two_heads)
    target = encoded(estimator, y)
    np.testing.assert_array_equal(target[0], 1 - BINARY)
    np.testing.assert_array_equal(target[1], NUMBERS)
    with training_with(Recorder()):
        predicted = estimator.predict(X)
        assert 0 <= estimator.score(X, y) <= 1
    assert predicted.dtype == y.dtype and set(predicted[:, 1]) <= set(STRINGS)


def test_a_frame_of_columns_of_different_kinds_is_a_target() -> None:
    pandas = pytest.importorskip("pandas")
    y = pandas.DataFrame({"colour": np.array(["red", "blue"])[BINARY], "size": NUMBERS})
    estimator = KerasClassifier(two_heads)
    target = encoded(estimator, y)
    np.testing.assert_array_equal(target[0], 1 - BINARY)
    np.testing.assert_array_equal(target[1], NUMBERS)


def test_the_loss_is_chosen_also_where_a_key_is_not_the_name_of_its_layer() -> None:
    target = encoded(KerasClassifier(renamed_heads), np.column_stack([BINARY, NUMBERS]))
    np.testing.assert_array_equal(target["colour"], BINARY)
    np.testing.assert_array_equal(target["tree"], NUMBERS)


@pytest.mark.parametrize(
    "structure, form",
    [  # Keras takes no list of losses for a dict of outputs
        ("list", "one for all"),
        ("list", "list"),
        ("list", "dict"),
        ("dict", "one for all"),
        ("dict", "dict"),
    ],
)
def test_each_output_gets_its_column_in_the_form_of_its_loss(structure: str, form: str) -> None:
    sparse, dense = "sparse_categorical_crossentropy", "categorical_crossentropy"
    loss: Any = {"one for all": dense, "list": [sparse, dense], "dict": {"a": sparse, "b": dense}}
    estimator = KerasClassifier(two_heads, structure=structure, loss=loss[form])
    target = encoded(estimator, np.column_stack([BINARY, NUMBERS]))
    a, b = (target["a"], target["b"]) if structure == "dict" else target
    np.testing.assert_array_equal(a, np.eye(2)[BINARY] if form == "one for all" else BINARY)
    np.testing.assert_array_equal(b, np.eye(3)[NUMBERS])


def test_a_column_of_several_may_lack_a_class_that_the_caller_names() -> None:
    y = np.column_stack([np.array(["red", "blue"])[BINARY], STRINGS[BINARY]])
    classes = [["blue", "red"], STRINGS.tolist()]
    estimator = KerasClassifier(two_heads, classes=classes)
    target = encoded(estimator, y)
    np.testing.assert_array_equal(target[1], BINARY)
    assert [list(c) for c in estimator.classes_] == classes


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_numbers_are_cut_to_the_outputs_and_joined_again(structure: str) -> None:
    y = np.column_stack([VALUES, VALUES[:, 0]])
    estimator = KerasRegressor(value_heads, structure=structure)
    target = encoded(estimator, y)
    one, two = (target["one"], target["two"]) if structure == "dict" else target
    np.testing.assert_array_equal(one, y[:, :1])
    np.testing.assert_array_equal(two, y[:, 1:])
    outputs = _host(estimator.model_(X))
    parts = list(outputs.values()) if structure == "dict" else outputs
    with training_with(Recorder()):
        np.testing.assert_allclose(estimator.predict(X), np.hstack(parts), rtol=1e-5)


def test_row_weights_weigh_every_output() -> None:
    weights = np.arange(1, 25)
    with recorded() as recorder:
        KerasRegressor(value_heads).fit(
            X, np.column_stack([VALUES, VALUES[:, 0]]), sample_weight=weights
        )
    for part in recorder.requests[0].training.sample_weight:
        np.testing.assert_array_equal(part, weights)


# --- numbers -------------------------------------------------------------------------------------


def line(units: int = 1, flat: bool = False) -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units)])
    if flat:
        model.add(keras.layers.Reshape(()))
    return model


@pytest.fixture(scope="module")
def regressor() -> Any:
    return KerasRegressor(line, epochs=2, random_state=0).fit(X, VALUES[:, 0])


def test_the_numbers_are_those_of_keras_and_the_score_is_r2(regressor: Any) -> None:
    outputs = regressor.model_.predict(X, verbose=0)
    predicted = regressor.predict(X)
    assert predicted.shape == (24,) and predicted.dtype == np.float64
    np.testing.assert_allclose(predicted, outputs[:, 0], rtol=1e-6)
    assert regressor.score(X, VALUES[:, 0]) == pytest.approx(r2_score(VALUES[:, 0], outputs))
    assert regressor.predict(X[:1]).shape == (1,)


@pytest.mark.parametrize(
    "dtype, wanted",
    [
        ("float64", "float64"),
        ("float32", "float32"),
        ("float16", "float16"),
        ("int64", "float64"),
        ("uint8", "float64"),
        ("bool", "float64"),
    ],
)
def test_numbers_have_the_float_type_of_y(dtype: str, wanted: str) -> None:
    y = (10 * np.abs(VALUES[:, 0])).astype(dtype)
    estimator = KerasRegressor(line)
    target = encoded(estimator, y)
    np.testing.assert_array_equal(target, y.reshape(-1, 1))
    with training_with(Recorder()):
        assert estimator.predict(X).dtype == wanted


@pytest.mark.parametrize("shape", [(24,), (24, 1), (24, 2)])
@pytest.mark.parametrize("kind", ["array", "list", "frame"])
def test_numbers_have_the_shape_of_y(shape: tuple[int, ...], kind: str) -> None:
    y: Any = VALUES[:, : shape[-1] if len(shape) == 2 else 1].reshape(shape)
    columns = shape[1] if len(shape) == 2 else 1
    if kind == "list":
        y = y.tolist()
    elif kind == "frame":
        pandas = pytest.importorskip("pandas")
        y = pandas.Series(y) if len(shape) == 1 else pandas.DataFrame(y)
    estimator = KerasRegressor(line, units=columns)
    assert encoded(estimator, y).shape == (24, columns)
    outputs = keras.ops.convert_to_numpy(estimator.model_(X))
    with training_with(Recorder()):
        predicted = estimator.predict(X)
        score = estimator.score(X, y)
    assert predicted.shape == shape and predicted.dtype == np.float64
    np.testing.assert_allclose(predicted, outputs.reshape(shape), rtol=1e-5)
    assert score == pytest.approx(r2_score(y, outputs), rel=1e-5)
    assert estimator.n_outputs_ == columns


def test_an_output_without_units_is_a_number_for_each_row() -> None:
    estimator = KerasRegressor(line, flat=True)
    assert encoded(estimator, VALUES[:, 0]).shape == (24,)
    with training_with(Recorder()):
        assert estimator.predict(X).shape == (24,)


@pytest.mark.parametrize("loss", [None, "mse", "mae", "huber", keras.losses.LogCosh()])
def test_the_loss_of_numbers_is_the_one_a_user_would_compute(loss: Any) -> None:
    estimator = KerasRegressor(line, loss=loss)
    target = encoded(estimator, VALUES[:, 0])
    outputs = estimator.model_(X)
    difference = keras.losses.get(loss or "mse")(target.astype("float32"), outputs)
    whole = estimator.model_.compute_loss(X, target.astype("float32"), outputs, None)
    mean = np.mean(keras.ops.convert_to_numpy(difference))
    assert float(whole) == pytest.approx(float(mean), rel=1e-5)
    if loss in (None, "mse"):
        errors_ = keras.ops.convert_to_numpy(outputs)[:, 0] - VALUES[:, 0]
        assert float(whole) == pytest.approx(float(np.mean(errors_**2)), rel=1e-5)


# --- which loss, when none is given --------------------------------------------------------------


def ends_with_softmax_layer() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Softmax()])


def ends_with_activation_layer() -> keras.Model:
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Activation("softmax")]
    )


def ends_with_a_block() -> keras.Model:
    block = keras.Sequential([keras.layers.Dense(3, "softmax")])
    return keras.Sequential([keras.Input((4,)), block])


def ends_with_a_functional_block() -> keras.Model:
    inner = keras.Input((4,))
    block = keras.Model(inner, keras.layers.Dense(3, "softmax")(inner))
    x = keras.Input((4,))
    return keras.Model(x, block(x))


@pytest.mark.parametrize(
    "builder, y, loss",
    [
        (lambda: head(1, "sigmoid"), BINARY, "binary_crossentropy"),
        (lambda: head(2), BINARY, "sparse_categorical_crossentropy"),
        (head_without_loss, NUMBERS, "sparse_categorical_crossentropy"),
        (head_without_loss, np.eye(3)[NUMBERS], "categorical_crossentropy"),
        (lambda: head(3, "sigmoid"), MULTILABEL, "binary_crossentropy"),
        (ends_with_softmax_layer, NUMBERS, "sparse_categorical_crossentropy"),
        (ends_with_activation_layer, NUMBERS, "sparse_categorical_crossentropy"),
        (ends_with_a_block, NUMBERS, "sparse_categorical_crossentropy"),
        (ends_with_a_functional_block, NUMBERS, "sparse_categorical_crossentropy"),
        (two_heads, np.column_stack([BINARY, NUMBERS]), ["sparse_categorical_crossentropy"] * 2),
        (two_sigmoids, np.column_stack([BINARY, BINARY[::-1]]), ["binary_crossentropy"] * 2),
    ],
)
def test_the_loss_follows_from_the_target_and_the_output(
    builder: Any, y: np.ndarray, loss: Any
) -> None:
    estimator = KerasClassifier(builder)
    encoded(estimator, y)
    assert estimator.model_.loss == loss


def test_the_loss_of_numbers_is_the_mean_squared_error() -> None:
    for builder, y in [(line, VALUES[:, 0]), (value_heads, np.column_stack([VALUES, BINARY]))]:
        estimator = KerasRegressor(builder)
        encoded(estimator, y)
        assert set(np.atleast_1d(estimator.model_.loss)) == {"mean_squared_error"}


@pytest.mark.parametrize(
    "activation, units, y",
    [
        (None, 1, BINARY),
        ("tanh", 1, BINARY),
        ("relu", 2, BINARY),
        ("sigmoid", 2, BINARY),
        ("sigmoid", 3, NUMBERS),
        (None, 3, NUMBERS),
        (None, 3, MULTILABEL),
        ("softmax", 3, MULTILABEL),
    ],
)
def test_the_loss_is_not_guessed_where_there_are_two_readings(
    activation: Any, units: int, y: np.ndarray
) -> None:
    with pytest.raises(errors.TargetMismatch, match="[Ll]oss"), recorded():
        KerasClassifier(head_without_loss, units=units, activation=activation).fit(X, y)


def test_no_loss_given_in_so_many_words_is_the_same_as_none_given() -> None:
    """``loss=None`` is documented as the default: it must not take away the builder's loss."""

    def compiles() -> keras.Model:
        model = head()
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        return model

    target = encoded(KerasClassifier(compiles, loss=None), NUMBERS)
    np.testing.assert_array_equal(target, np.eye(3)[NUMBERS])


def test_setting_the_parameters_that_were_got_changes_nothing() -> None:
    """``set_params(**get_params())`` is how scikit-learn's tools copy an estimator."""

    def compiles() -> keras.Model:
        model = head()
        model.compile(keras.optimizers.Adam(0.25), "categorical_crossentropy")
        return model

    plain = KerasClassifier(compiles)
    for estimator in (
        KerasClassifier(compiles).set_params(**plain.get_params()),
        KerasClassifier(**plain.get_params()),
    ):
        target = encoded(estimator, NUMBERS)
        np.testing.assert_array_equal(target, np.eye(3)[NUMBERS])
        assert type(estimator.model_.optimizer).__name__ == "Adam"
        assert float(estimator.model_.optimizer.learning_rate.value) == 0.25


# --- nested arguments of the loss ----------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "categorical_crossentropy",
        CCE(),
        keras.losses.categorical_crossentropy,
    ],
    ids=["name", "instance", "function"],
)
def test_label_smoothing_reaches_a_loss_that_the_builder_compiled(written: Any) -> None:
    def compiles() -> keras.Model:
        model = head()
        model.compile("adam", written)
        return model

    estimator = KerasClassifier(compiles, loss__label_smoothing=0.3)
    target = encoded(estimator, NUMBERS)
    np.testing.assert_array_equal(target, np.eye(3)[NUMBERS])
    outputs = estimator.model_(X)
    whole = estimator.model_.compute_loss(X, target, outputs, None)
    wanted = CCE(label_smoothing=0.3)(np.eye(3, dtype="float32")[NUMBERS], outputs)
    assert float(whole) == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize(
    "written", ["sparse_categorical_crossentropy", SCCE], ids=["name", "class"]
)
def test_logits_asked_for_by_a_nested_argument_give_right_probabilities(written: Any) -> None:
    estimator = KerasClassifier(
        head_without_loss, activation=None, loss=written, loss__from_logits=True
    )
    np.testing.assert_array_equal(encoded(estimator, NUMBERS), NUMBERS)
    outputs = keras.ops.convert_to_numpy(estimator.model_(X))
    with training_with(Recorder()):
        np.testing.assert_allclose(estimator.predict_proba(X), softmax(outputs), rtol=1e-5)


# --- validation data is encoded as y is ----------------------------------------------------------


def test_validation_labels_are_encoded_like_those_of_training() -> None:
    estimator = KerasClassifier(head_without_loss, loss="categorical_crossentropy")
    with recorded() as recorder:
        estimator.fit(X, STRINGS[NUMBERS], validation_data=(X[:3], ["cedar", "ash", "cedar"]))
        estimator.fit(X, np.eye(3)[NUMBERS], validation_data=[X[:2], np.eye(3)[:2].tolist()])
    assert [r.validation is not None for r in recorder.requests] == [True, True]
    np.testing.assert_array_equal(recorder.requests[0].validation.y, np.eye(3)[[2, 0, 2]])
    np.testing.assert_array_equal(recorder.requests[1].validation.y, np.eye(3)[:2])


def test_a_held_out_part_is_stratified_and_the_folds_of_scikit_learn_are_too() -> None:
    y = STRINGS[[0] * 12 + [1] * 8 + [2] * 4]
    estimator = KerasClassifier(head, validation_split=0.25, random_state=3)
    with recorded() as recorder:
        estimator.fit(X, y)
    request = recorder.requests[0]
    assert request.validation is not None
    np.testing.assert_array_equal(np.bincount(request.validation.y), [3, 2, 1])
    np.testing.assert_array_equal(np.bincount(request.training.y), [9, 6, 3])
    from sklearn.base import is_classifier
    from sklearn.model_selection import check_cv

    assert isinstance(check_cv(3, y, classifier=is_classifier(estimator)), StratifiedKFold)
