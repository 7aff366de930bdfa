"""What X may be, and that a row's output depends on that row alone."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amalthea  # first, since it chooses the backend of Keras

# isort: split

import keras
import numpy as np
import pytest
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from amalthea import Inputs, KerasClassifier, KerasRegressor, errors
from amalthea.engine.requests import FitRequest, FitResult, PredictRequest
from amalthea.engine.trainer import current_trainer, training_with
from trainers import OneByOne

# Keras's Variable.__array__ has no copy argument, which NumPy 2 wants.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4)).astype("float32")
Y = np.arange(24) % 3
V = RNG.normal(size=24)
IMAGES = RNG.integers(0, 256, size=(24, 5, 5, 1), dtype="uint8")
SEQUENCES = RNG.integers(0, 10, size=(24, 6))


class Recorder(OneByOne):
    """Trains nothing, and keeps what it was asked to train and to predict."""

    def __init__(self) -> None:
        self.fits: list[FitRequest] = []
        self.predictions: list[PredictRequest] = []

    def fit(self, request: FitRequest) -> FitResult:
        self.fits.append(request)
        return FitResult({}, [])

    def answer(self, request: PredictRequest) -> Any:
        self.predictions.append(request)
        return np.zeros((len(request.x), 3), dtype="float32")


@contextmanager
def recorded() -> Iterator[Recorder]:
    recorder = Recorder()
    with training_with(recorder):
        yield recorder


def dense(units: int = 3) -> keras.Model:
    return keras.Sequential([keras.layers.Dense(units, "softmax")])


def line() -> keras.Model:
    return keras.Sequential([keras.layers.Dense(1)])


def deep(n_features: int = 4, hidden: int = 37) -> keras.Model:
    """Sums long enough that their order would show."""
    return keras.Sequential(
        [
            keras.Input((n_features,)),
            keras.layers.Dense(hidden, "tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(hidden, "gelu"),
            keras.layers.Dense(3, "softmax"),
        ]
    )


def convolution(meta: dict[str, Any], with_input: bool = True) -> keras.Model:
    first = [keras.Input(meta["X_shape_"][1:])] if with_input else []
    return keras.Sequential(
        [
            *first,
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(2, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, "softmax"),
        ]
    )


def flat() -> keras.Model:
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])


def embedding(length: int | None = None, with_input: bool = True) -> keras.Model:
    first = [keras.Input((length,), dtype="int32")] if with_input else []
    return keras.Sequential(
        [
            *first,
            keras.layers.Embedding(10, 3),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(3, "softmax"),
        ]
    )


def two_inputs(structure: str = "dict") -> keras.Model:
    a, c = keras.Input((3,), name="a"), keras.Input((5, 5, 1), name="c")
    joined = keras.layers.Concatenate()([a, keras.layers.Flatten()(c)])
    outputs = keras.layers.Dense(3, "softmax")(joined)
    return keras.Model({"a": a, "c": c} if structure == "dict" else [a, c], outputs)


class OwnModel(keras.Model):
    """A model by subclassing, which takes a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.last = keras.layers.Dense(3, "softmax")

    def call(self, inputs: dict[str, Any]) -> Any:
        return self.last(keras.ops.concatenate([inputs["a"], self.flatten(inputs["c"])], axis=1))


TWO = {"a": RNG.normal(size=(24, 3)), "c": RNG.normal(size=(24, 5, 5, 1))}


def outputs_of(estimator: Any, x: Any) -> np.ndarray:
    """Keras's own word for what the trained model gives."""
    return estimator.model_.predict(x, verbose=0)


# --- arrays --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> Any:
    return KerasClassifier(dense, epochs=1, random_state=0, loss=None).fit(X, Y)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool", "object"]
)
def test_a_table_of_any_numbers_is_taken_as_keras_takes_it(dtype: str) -> None:
    x = (X * 4).astype(dtype)
    estimator = KerasClassifier(dense, epochs=1, random_state=0).fit(x, Y)
    wanted = KerasClassifier(dense, epochs=1, random_state=0).fit(x.astype("float32"), Y)
    same_as(estimator, wanted)
    np.testing.assert_allclose(
        estimator.predict_proba(x), outputs_of(estimator, x.astype("float32")), rtol=1e-5
    )


def same_as(one: Any, other: Any) -> None:
    pairs = zip(one.model_.get_weights(), other.model_.get_weights(), strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "kind",
    [
        "list",
        "tuple of rows",
        "fortran",
        "strided",
        "read-only",
        "big-endian",
        "frame",
        "polars",
        "nullable",
        "memmap",
        "masked",
    ],
)
def test_a_table_comes_in_any_container(kind: str, table: Any, tmp_path: Any) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    read_only = X.copy()
    read_only.setflags(write=False)
    np.save(tmp_path / "x.npy", X)
    x: Any = {
        "list": X.tolist,
        "tuple of rows": lambda: tuple(X.tolist()),
        "fortran": lambda: np.asfortranarray(X),
        "strided": lambda: np.repeat(X, 2, axis=1)[:, ::2],
        "read-only": lambda: read_only,
        "big-endian": lambda: X.astype(">f4"),
        "frame": lambda: pandas.DataFrame(X),
        "polars": lambda: polars.DataFrame(X.tolist(), schema=list("abcd"), orient="row"),
        "nullable": lambda: pandas.DataFrame(X).astype("Float64"),
        "memmap": lambda: np.load(tmp_path / "x.npy", mmap_mode="r"),
        "masked": lambda: np.ma.MaskedArray(X),
    }[kind]()
    estimator = KerasClassifier(dense, epochs=1, random_state=0).fit(x, Y)
    same_as(estimator, table)
    np.testing.assert_array_equal(estimator.predict_proba(x), table.predict_proba(X))
    assert estimator.n_features_in_ == 4


@pytest.mark.parametrize("with_input", [True, False], ids=["declared", "deferred"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_images_are_taken_in_their_own_type(dtype: str, with_input: bool) -> None:
    x = IMAGES.astype(dtype)
    estimator = KerasClassifier(convolution, with_input=with_input, epochs=1, random_state=0)
    estimator.fit(x, Y)
    np.testing.assert_allclose(
        estimator.predict_proba(x), outputs_of(estimator, IMAGES.astype("float32")), rtol=1e-5
    )
    assert estimator.predict(x).shape == (24,)


@pytest.mark.parametrize("shape", [(24, 4), (24, 2, 2), (24, 2, 2, 1)])
def test_arrays_of_any_rank_are_taken(shape: tuple[int, ...], table: Any) -> None:
    estimator = KerasClassifier(flat, epochs=1, random_state=0).fit(X.reshape(shape), Y)
    same_as(estimator, table)
    assert estimator.n_features_in_ == shape[1]


@pytest.mark.parametrize("with_input", [True, False], ids=["declared", "deferred"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float64"])
def test_sequences_of_numbers_reach_an_embedding(dtype: str, with_input: bool) -> None:
    x = SEQUENCES.astype(dtype)
    estimator = KerasClassifier(embedding, with_input=with_input, epochs=1, random_state=0)
    estimator.fit(x, Y)
    np.testing.assert_allclose(
        estimator.predict_proba(x), outputs_of(estimator, SEQUENCES), rtol=1e-5
    )


def test_sequences_of_another_length_are_taken_where_the_model_leaves_it_open() -> None:
    def recurrent() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((None, 2)),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(3, "softmax"),
            ]
        )

    estimator = KerasClassifier(recurrent, epochs=0, random_state=0)
    estimator.fit(RNG.normal(size=(24, 6, 2)), Y)
    longer = RNG.normal(size=(5, 9, 2)).astype("float32")
    np.testing.assert_allclose(
        estimator.predict_proba(longer), outputs_of(estimator, longer), rtol=1e-5
    )
    with pytest.raises(errors.InvalidData, match="X"):
        estimator.predict(RNG.normal(size=(5, 9, 3)))


@pytest.mark.parametrize("kind", ["Inputs", "dict", "tuple"])
def test_open_lengths_are_open_also_in_several_inputs(kind: str) -> None:
    def pooled() -> keras.Model:
        a, c = keras.Input((3,), name="a"), keras.Input((None, 2), name="c")
        joined = keras.layers.Concatenate()([a, keras.layers.GlobalAveragePooling1D()(c)])
        return keras.Model([a, c], keras.layers.Dense(3, "softmax")(joined))

    def pack(length: int) -> Any:
        a, c = X[:, :3], np.ones((24, length, 2), dtype="float32")
        return {"Inputs": Inputs(a=a, c=c), "dict": {"a": a, "c": c}, "tuple": (a, c)}[kind]

    with recorded() as recorder:
        estimator = KerasClassifier(pooled, epochs=0).fit(pack(6), Y)
        with pytest.raises(errors.InvalidData):
            estimator.predict({"a": X[:, :2], "c": np.ones((24, 6, 2))})
        estimator._target.decide = lambda outputs: outputs
        estimator.predict(pack(9))
    assert len(recorder.predictions) == 1


# --- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_are_remembered_and_other_orders_refused(library: str) -> None:
    frames = pytest.importorskip(library)
    names = ["p", "q", "r", "s"]
    frame = frames.DataFrame({name: X[:, i] for i, name in enumerate(names)})
    estimator = KerasClassifier(dense, epochs=0, random_state=0).fit(frame, Y)
    assert estimator.feature_names_in_.tolist() == names
    np.testing.assert_allclose(estimator.predict_proba(frame), outputs_of(estimator, X), rtol=1e-5)
    with pytest.raises(ValueError, match="(?s)feature names.*order"):
        estimator.predict(frame[["q", "p", "r", "s"]])
    with pytest.warns(UserWarning, match="feature names"):
        estimator.predict(X)
    again = pickle.loads(pickle.dumps(estimator))
    assert again.feature_names_in_.tolist() == names
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame[["q", "p", "r", "s"]])


def test_names_are_forgotten_when_a_later_fit_has_none() -> None:
    pandas = pytest.importorskip("pandas")
    estimator = KerasClassifier(dense, epochs=0)
    estimator.fit(pandas.DataFrame(X, columns=list("abcd")), Y).fit(X, Y)
    assert not hasattr(estimator, "feature_names_in_")
    estimator = KerasClassifier(two_inputs, epochs=0)
    assert not hasattr(estimator.fit(Inputs(**TWO), Y), "feature_names_in_")


def test_a_frame_of_several_types_becomes_numbers() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": X[:, 0], "b": Y, "c": Y == 1, "d": X[:, 1].astype("float64")})
    estimator = KerasClassifier(dense, epochs=0).fit(frame, Y)
    assert estimator.predict_proba(frame).shape == (24, 3)


# --- sparse --------------------------------------------------------------------------------------


SPARSE = np.where(np.abs(X) > 0.5, X, 0).astype("float32")


@pytest.fixture(scope="module")
def of_dense() -> Any:
    return KerasClassifier(deep, epochs=1, batch_size=7, random_state=0).fit(SPARSE, Y)


@pytest.mark.parametrize("container", ["matrix", "array"])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia", "dok", "lil"])
def test_sparse_input_of_every_format_is_as_dense(form: str, container: str, of_dense: Any) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x = getattr(sparse, f"{form}_{container}")(SPARSE)
    estimator = copy.deepcopy(of_dense)
    np.testing.assert_array_equal(estimator.predict_proba(x), of_dense.predict_proba(SPARSE))
    with recorded() as recorder:
        estimator.fit(x, Y)
    rows = recorder.fits[0].training.take(np.array([3, 1, 2]))
    np.testing.assert_array_equal(rows[0], SPARSE[[3, 1, 2]])
    assert estimator.n_features_in_ == 4


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_training_on_sparse_input_gives_the_same_weights(dtype: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    x = (SPARSE * 4).astype(dtype)
    estimator = KerasClassifier(
        dense, epochs=1, batch_size=7, random_state=0, validation_split=0.25
    )
    fitted = copy.deepcopy(estimator).fit(x, Y)
    from_sparse = estimator.fit(sparse.csr_matrix(x), Y)
    same_as(from_sparse, fitted)
    assert from_sparse.history_ == fitted.history_


# --- several inputs ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several() -> Any:
    return KerasClassifier(two_inputs, epochs=1, random_state=0).fit(Inputs(**TWO), Y)


@pytest.mark.parametrize("structure", ["dict", "list"])
@pytest.mark.parametrize("kind", ["Inputs", "dict", "tuple", "other order", "frames", "lists"])
def test_several_inputs_come_in_any_container(kind: str, structure: str, several: Any) -> None:
    pandas = pytest.importorskip("pandas")
    if (kind, structure) == ("tuple", "dict"):
        structure = "list"  # a tuple has no names
    x: Any = {
        "Inputs": lambda: Inputs(**TWO),
        "dict": lambda: TWO,
        "tuple": lambda: tuple(TWO.values()),
        "other order": lambda: Inputs(c=TWO["c"], a=TWO["a"]),
        "frames": lambda: {"a": pandas.DataFrame(TWO["a"]), "c": TWO["c"]},
        "lists": lambda: Inputs(a=TWO["a"].tolist(), c=TWO["c"].tolist()),
    }[kind]()
    estimator = KerasClassifier(two_inputs, structure=structure, epochs=1, random_state=0)
    estimator.fit(x, Y)
    same_as(estimator, several)
    np.testing.assert_array_equal(estimator.predict_proba(x), several.predict_proba(TWO))
    raw = {name: array.astype("float32") for name, array in TWO.items()}
    np.testing.assert_allclose(several.predict_proba(TWO), outputs_of(several, raw), rtol=1e-5)


def test_a_model_by_subclassing_takes_named_inputs() -> None:
    estimator = KerasClassifier(OwnModel, loss="categorical_crossentropy", random_state=0)
    estimator.fit(Inputs(**TWO), Y)
    raw = {name: array.astype("float32") for name, array in TWO.items()}
    np.testing.assert_allclose(
        estimator.predict_proba(Inputs(**TWO)), outputs_of(estimator, raw), rtol=1e-5
    )


def test_a_named_input_may_be_a_column_of_numbers() -> None:
    def with_ids() -> keras.Model:
        a = keras.Input((3,), name="a")
        place = keras.Input((), dtype="int32", name="place")
        vector = keras.layers.Embedding(3, 2)(place)
        joined = keras.layers.Concatenate()([a, vector])
        return keras.Model([a, place], keras.layers.Dense(3, "softmax")(joined))

    x = Inputs(a=X[:, :3], place=Y)
    estimator = KerasClassifier(with_ids, epochs=1, random_state=0).fit(x, Y)
    wanted = outputs_of(estimator, {"a": X[:, :3], "place": Y.astype("int32")})
    np.testing.assert_allclose(estimator.predict_proba(x), wanted, rtol=1e-5)
    assert estimator.predict_proba(x[5]).shape == (1, 3)


def test_a_single_named_input_is_taken() -> None:
    def named() -> keras.Model:
        x = keras.Input((4,), name="x")
        return keras.Model(x, keras.layers.Dense(3, "softmax")(x))

    for x in ({"x": X}, Inputs(x=X), (X,)):
        estimator = KerasClassifier(named, epochs=0, random_state=0).fit(x, Y)
        np.testing.assert_allclose(estimator.predict_proba(x), outputs_of(estimator, X), rtol=1e-5)


def test_inputs_are_what_splitters_and_searches_need() -> None:
    x = Inputs(**TWO)
    rows = np.array([5, 0, 7])
    mask = np.arange(24) % 2 == 0
    assert len(x) == 24 and x.shape == (24, 2) and x.ndim == 2
    for chosen, count in [(rows, 3), (mask, 12), (slice(2, 9, 3), 3), ([1, 2], 2), (-1, 1)]:
        part = x[chosen]
        assert isinstance(part, Inputs) and len(part) == count
        for name, array in TWO.items():
            np.testing.assert_array_equal(
                part[name], np.atleast_1d(array[chosen]).reshape(count, *array.shape[1:])
            )
    assert x.keys() == ["a", "c"]
    np.testing.assert_array_equal(x["a"], TWO["a"])
    assert "a=(24, 3)" in repr(x)
    again = pickle.loads(pickle.dumps(x))
    np.testing.assert_array_equal(again["c"], TWO["c"])
    train, test, y_train, _ = train_test_split(x, Y, test_size=6, random_state=0, stratify=Y)
    assert len(train) == 18 and len(test) == 6 and len(y_train) == 18
    with pytest.raises(TypeError, match="items"):
        list(x)
    with pytest.raises(KeyError):
        x["nothing"]
    with pytest.raises(IndexError):
        x[[99]]


@pytest.mark.parametrize("name", ["self", "rows", "arrays", "cls", "name with spaces", "shape"])
def test_inputs_take_any_name_that_a_model_may_have(name: str) -> None:
    x = Inputs.of({name: X, "other": X})
    np.testing.assert_array_equal(x[[1, 2]][name], X[[1, 2]])


def test_inputs_go_through_cross_validation_searches_and_pipelines() -> None:
    x = Inputs(**TWO)
    estimator = KerasClassifier(two_inputs, epochs=1, random_state=0)
    pipeline = Pipeline([("scale", FunctionTransformer(halved)), ("net", estimator)])
    folds = KFold(2)
    scores = cross_val_score(estimator, x, Y, cv=folds, error_score="raise")
    by_hand = [
        copy.deepcopy(estimator).fit(x[train], Y[train]).score(x[test], Y[test])
        for train, test in folds.split(x)
    ]
    np.testing.assert_array_equal(scores, by_hand)
    assert cross_val_predict(estimator, x, Y, cv=folds, method="predict_proba").shape == (24, 3)
    search = GridSearchCV(pipeline, {"net__epochs": [0, 1]}, cv=folds, error_score="raise").fit(
        x, Y
    )
    assert search.predict(x).shape == (24,)
    assert search.best_estimator_["net"].n_features_in_ == 8
    amalthea_search = amalthea.GridSearchCV(
        estimator, {"epochs": [0, 1]}, cv=folds, error_score="raise"
    ).fit(x, Y)
    assert amalthea_search.cv_results_["split0_test_score"][1] == scores[0]


def halved(x: Inputs) -> Inputs:
    return Inputs.of({name: array / 2 for name, array in x.items()})


def test_inputs_are_held_out_and_validated_on() -> None:
    x = Inputs(**TWO)
    with recorded() as recorder:
        estimator = KerasClassifier(two_inputs, validation_split=0.25, random_state=0).fit(x, Y)
        rows = estimator.validation_rows_
        estimator.set_params(validation_split=0.0)
        estimator.fit(x, Y, validation_data=(x[:5], Y[:5]))
    first, second = recorder.fits
    assert first.validation is not None and second.validation is not None
    np.testing.assert_array_equal(first.validation.x["c"], TWO["c"][rows])
    assert len(first.training) == 18
    np.testing.assert_array_equal(second.validation.x["a"], TWO["a"][:5])


def test_a_pipeline_with_a_scaler_serves_a_table() -> None:
    pipeline = make_pipeline(StandardScaler(), KerasRegressor(line, epochs=1, random_state=0))
    pipeline.fit(X, V)
    scaled = StandardScaler().fit_transform(X)
    alone = KerasRegressor(line, epochs=1, random_state=0).fit(scaled, V)
    np.testing.assert_array_equal(pipeline.predict(X), alone.predict(scaled))


def test_the_callers_arrays_are_left_as_they_were() -> None:
    arrays = {name: array.copy() for name, array in TWO.items()}
    y, weights = Y.copy(), np.ones(24)
    with recorded():
        KerasClassifier(two_inputs, class_weight="balanced").fit(arrays, y, sample_weight=weights)
    assert list(arrays) == list(TWO)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, TWO[name])
        assert array.dtype == TWO[name].dtype
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(weights, np.ones(24))


# --- what a builder learns of X and y ------------------------------------------------------------


def meta_of(x: Any, y: Any, kind: Callable[..., Any] = KerasClassifier) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []

    def builder(meta: dict[str, Any]) -> keras.Model:
        seen.append(dict(meta))
        raise _Enough

    with pytest.raises(errors.BuildError) as caught:
        kind(builder).fit(x, y)
    assert isinstance(caught.value.__cause__, _Enough)
    assert "meta=" not in str(caught.value), "meta is long, and not the user's parameter"
    return seen[0]


class _Enough(Exception):
    pass


def test_meta_tells_a_builder_what_x_and_y_are() -> None:
    meta = meta_of(X.astype("float64"), np.array(list("abc"))[Y])
    assert meta["n_features_in_"] == 4
    assert meta["X_shape_"] == (24, 4) and meta["X_dtype_"] == np.float64
    assert meta["y_shape_"] == (24,) and meta["y_dtype_"].kind == "U"
    assert meta["n_classes_"] == 3 and meta["classes_"].tolist() == ["a", "b", "c"]
    assert meta["n_outputs_"] == 1 and meta["n_outputs_expected_"] == 1
    assert meta["target_type_"] == "multiclass"


@pytest.mark.parametrize(
    "y, kind, n_outputs, n_classes",
    [
        (Y % 2, "binary", 1, 2),
        (Y, "multiclass", 1, 3),
        (np.eye(3)[Y], "multiclass-onehot", 3, 3),
        ([[1, 1, 0], [0, 0, 0]] * 12, "multilabel-indicator", 3, 3),
        (np.column_stack([Y, Y % 2]), "multiclass-multioutput", 2, [3, 2]),
    ],
    ids=["binary", "multiclass", "one-hot", "multilabel", "multi-output"],
)
def test_meta_tells_the_kind_of_the_classes(
    y: Any, kind: str, n_outputs: int, n_classes: Any
) -> None:
    meta = meta_of(X, y)
    assert meta["target_type_"] == kind
    assert meta["n_outputs_"] == n_outputs and meta["n_classes_"] == n_classes


@pytest.mark.parametrize("columns, kind", [(1, "continuous"), (3, "continuous-multioutput")])
def test_meta_tells_the_kind_of_the_numbers(columns: int, kind: str) -> None:
    y = RNG.normal(size=(24, columns))
    meta = meta_of(X, y if columns > 1 else y[:, 0], KerasRegressor)
    assert meta["target_type_"] == kind and meta["n_outputs_"] == columns
    assert "n_classes_" not in meta


def test_meta_tells_the_shape_of_each_of_several_inputs() -> None:
    meta = meta_of(Inputs(**TWO), Y)
    assert meta["X_shape_"] == {"a": (24, 3), "c": (24, 5, 5, 1)}
    assert meta["X_dtype_"] == {"a": np.float64, "c": np.float64}
    meta = meta_of(tuple(TWO.values()), Y)
    assert meta["X_shape_"] == ((24, 3), (24, 5, 5, 1))


def test_a_builder_may_change_its_meta() -> None:
    """It is the builder's own: the model has to be built again when a pickle is loaded."""
    with recorded():
        estimator = KerasClassifier(takes_from_meta).fit(X, Y)
    pickle.loads(pickle.dumps(estimator))


def takes_from_meta(meta: dict[str, Any]) -> keras.Model:
    return dense(meta.pop("n_classes_"))


def test_the_training_part_is_described_whole_to_the_builder() -> None:
    """meta is of the data given to fit, whatever is held out of them."""
    seen = []

    def builder(meta: dict[str, Any]) -> keras.Model:
        seen.append(meta["X_shape_"])
        return dense()

    with recorded():
        KerasClassifier(builder, validation_split=0.25).fit(X, Y)
    assert seen == [(24, 4)]


# --- a row's output depends on that row alone ----------------------------------------------------


WIDE = RNG.normal(size=(203, 19)).astype("float32")


@pytest.fixture(scope="module", params=[None, 1, 7, "all"])
def wide(request: pytest.FixtureRequest) -> Any:
    estimator = KerasClassifier(
        deep, n_features=19, epochs=1, random_state=0, predict__batch_size=request.param
    )
    return estimator.fit(WIDE, np.arange(203) % 3)


def test_a_row_gives_the_same_bits_whatever_else_is_asked(wide: Any) -> None:
    whole = wide.predict_proba(WIDE)
    assert len(np.unique(whole, axis=0)) > 200
    for n_rows in (1, 2, 41, 202):
        np.testing.assert_array_equal(wide.predict_proba(WIDE[:n_rows]), whole[:n_rows])
    others = np.vstack([WIDE[:100], 1e6 * WIDE[100:], 0 * WIDE[:5]])
    np.testing.assert_array_equal(wide.predict_proba(others)[:100], whole[:100])


def test_a_row_gives_the_same_wherever_it_is_asked(wide: Any) -> None:
    """In other places of a batch some versions of XLA round otherwise on some CPUs."""
    whole = wide.predict_proba(WIDE)
    alone = np.vstack([wide.predict_proba(WIDE[i : i + 1]) for i in range(0, 203, 9)])
    assert_equal_but_for_rounding(alone, whole[::9])
    assert_equal_but_for_rounding(wide.predict_proba(WIDE[::-1]), whole[::-1])
    assert_equal_but_for_rounding(wide.predict_proba(WIDE[50:91]), whole[50:91])
    order = np.random.default_rng(1).permutation(203)
    assert_equal_but_for_rounding(wide.predict_proba(WIDE[order]), whole[order])
    larger = np.vstack([1e6 * WIDE[:3], WIDE, 0 * WIDE[:5], WIDE])
    assert_equal_but_for_rounding(wide.predict_proba(larger)[3:206], whole)
    assert_equal_but_for_rounding(wide.predict_proba(larger)[211:], whole)


def assert_equal_but_for_rounding(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=0)


def test_rows_of_images_are_as_independent() -> None:
    estimator = KerasClassifier(convolution, epochs=0, random_state=0).fit(IMAGES, Y)
    whole = estimator.predict_proba(IMAGES)
    np.testing.assert_array_equal(estimator.predict_proba(IMAGES[:7]), whole[:7])
    assert_equal_but_for_rounding(estimator.predict_proba(IMAGES[::-1]), whole[::-1])
    alone = np.vstack([estimator.predict_proba(IMAGES[i : i + 1]) for i in range(24)])
    assert_equal_but_for_rounding(alone, whole)


class Counts(keras.layers.Layer):
    """Python runs when a program is traced, and not when it is run."""

    traces = 0

    def call(self, x: Any) -> Any:
        type(self).traces += 1
        return x


def counted() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), Counts(), keras.layers.Dense(3, "softmax")])


@pytest.mark.parametrize("batch_size", [None, 5, "all"])
def test_predictions_of_other_lengths_trace_nothing_again(batch_size: Any) -> None:
    estimator = KerasClassifier(counted, epochs=0, batch_size=batch_size).fit(X, Y)
    estimator.predict(X)
    traced = Counts.traces
    for length in (1, 2, 5, 23, 24):
        assert estimator.predict(X[:length]).shape == (length,)
    assert estimator.predict_proba(np.tile(X, (9, 1))).shape == (216, 3)
    assert Counts.traces == traced


def test_float_types_of_one_fit_trace_nothing_again(table: Any) -> None:
    estimator = KerasClassifier(counted, epochs=0).fit(X.astype("float64"), Y)
    wanted = estimator.predict_proba(X)
    traced = Counts.traces
    for dtype in ("float64", "float32", "float16"):
        np.testing.assert_allclose(estimator.predict_proba(X.astype(dtype)), wanted, atol=1e-2)
    assert Counts.traces == traced


def test_later_fits_of_the_same_program_compile_nothing() -> None:
    estimator = KerasClassifier(counted, epochs=3, batch_size=8, random_state=0)
    estimator.fit(X, Y).predict(X)
    compiled = current_trainer().compilations
    estimator.set_params(warm_start=True).fit(X, Y)
    KerasClassifier(counted, epochs=2, batch_size=8, random_state=1).fit(X, Y).predict(X)
    assert current_trainer().compilations == compiled
