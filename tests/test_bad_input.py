"""What cannot work is refused before training starts, in words that help."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import amalthea  # first, since it chooses the backend of Keras

# isort: split

import keras
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from amalthea import GridSearchCV, Inputs, KerasClassifier, KerasRegressor, errors
from amalthea.engine.requests import FitRequest, FitResult, PredictRequest
from amalthea.engine.trainer import training_with
from trainers import OneByOne

# Keras's Variable.__array__ has no copy argument, which NumPy 2 wants.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4))
Y = np.arange(24) % 3
V = RNG.normal(size=24)
TWO = {"a": X[:, :3], "c": X[:, 3:]}


class TrainingStarted(AssertionError):
    """Something that should have been refused has reached the trainer."""


class NoTraining(OneByOne):
    def fit(self, request: FitRequest) -> FitResult:
        raise TrainingStarted

    def answer(self, request: PredictRequest) -> Any:
        raise TrainingStarted


@pytest.fixture(autouse=True)
def no_training(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every refusal here comes before training; tests that want a fit take ``fitted``."""
    request.getfixturevalue("fitted")  # made before training is forbidden
    with training_with(NoTraining()):
        yield


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    """Fitted without an epoch, which costs no compilation."""
    pandas = pytest.importorskip("pandas")
    columns = ["p", "q", "r", "s"]
    return {
        "classifier": KerasClassifier(softmax, epochs=0).fit(X, Y),
        "named": KerasClassifier(softmax, epochs=0).fit(pandas.DataFrame(X, columns=columns), Y),
        "strings": KerasClassifier(softmax, epochs=0).fit(X, np.array(list("abc"))[Y]),
        "regressor": KerasRegressor(linear, epochs=0).fit(X, V),
        "two": KerasClassifier(two_inputs, epochs=0).fit(Inputs(**TWO), Y),
        "images": KerasClassifier(flat_softmax, epochs=0).fit(X.reshape(24, 2, 2), Y),
    }


def softmax(units: int = 3, hidden: int = 2) -> keras.Model:
    return keras.Sequential(
        [keras.layers.Dense(hidden, "relu"), keras.layers.Dense(units, "softmax")]
    )


def flat_softmax() -> keras.Model:
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])


def sigmoid(units: int = 1) -> keras.Model:
    return keras.Sequential([keras.layers.Dense(units, "sigmoid")])


def linear(units: int = 1) -> keras.Model:
    return keras.Sequential([keras.layers.Dense(units)])


def four_features() -> keras.Model:
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])


def two_inputs() -> keras.Model:
    a, c = keras.Input((3,), name="a"), keras.Input((1,), name="c")
    joined = keras.layers.Concatenate()([a, c])
    return keras.Model({"a": a, "c": c}, keras.layers.Dense(3, "softmax")(joined))


def two_heads() -> keras.Model:
    x = keras.Input((4,))
    return keras.Model(x, [keras.layers.Dense(1)(x), keras.layers.Dense(1)(x)])


def compiled() -> keras.Model:
    model = softmax()
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def with_any(**kwargs: Any) -> keras.Model:
    return softmax(**kwargs)


def with_epochs(epochs: int = 2) -> keras.Model:
    return softmax()


def needs_units(units: int) -> keras.Model:
    return softmax(hidden=units)


def has(error: BaseException, *parts: str) -> None:
    """The message has every part, ends as a sentence does, and is not endless."""
    message = str(error)
    missing = [part for part in parts if part not in message]
    assert not missing, f"{missing} not in: {message}"
    assert len(message) < 1500, message


def with_one(value: float, array: np.ndarray = X) -> np.ndarray:
    changed = np.array(array, dtype="float64")
    changed.reshape(-1)[1] = value
    return changed


# --- the builder ---------------------------------------------------------------------------------


def test_a_builder_that_returns_none_is_told_to_return_its_model() -> None:
    def forgets(units: int = 3) -> Any:
        softmax(units)

    with pytest.raises(errors.InvalidModelType) as caught:
        KerasClassifier(forgets).fit(X, Y)
    has(caught.value, "forgets(", "must return a keras.Model", "None", "return model")
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    "returned", [42, "model", (1, 2), keras.layers.Dense(3), keras.Sequential], ids=repr
)
def test_a_builder_that_returns_something_else_is_shown_what_it_returned(returned: Any) -> None:
    def odd() -> Any:
        return returned

    with pytest.raises(TypeError) as caught:
        KerasClassifier(odd).fit(X, Y)
    has(caught.value, "odd(", "keras.Model", repr(returned))


def test_a_builder_that_raises_is_shown_with_its_parameters_and_its_error_is_chained() -> None:
    original = ZeroDivisionError("units cannot be that")

    def breaks(units: int = 10, activation: str = "relu") -> Any:
        raise original

    with pytest.raises(errors.BuildError) as caught:
        KerasClassifier(breaks, units=7).fit(X, Y)
    has(caught.value, "breaks(", "units=7", "ZeroDivisionError", "units cannot be that")
    assert caught.value.__cause__ is original
    assert isinstance(caught.value, RuntimeError)


def test_a_builder_that_raises_by_its_own_default_shows_that_default() -> None:
    def breaks(units: int = -1) -> Any:
        raise ValueError("too few")

    with pytest.raises(errors.BuildError) as caught:
        KerasClassifier(breaks).fit(X, Y)
    has(caught.value, "breaks(", "units=-1")


def refuses(units: Any) -> Any:
    raise ValueError("not so")


@pytest.mark.parametrize(
    "builder",
    [functools.partial(refuses, units="many"), lambda units="many": refuses(units)],
    ids=["partial", "lambda"],
)
def test_builders_without_a_plain_name_are_named_too(builder: Any) -> None:
    with pytest.raises(errors.BuildError) as caught:
        KerasClassifier(builder).fit(X, Y)
    has(caught.value, "many")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("model", [42, "softmax", [softmax]])
def test_a_model_that_cannot_be_called_is_refused(model: Any) -> None:
    with pytest.raises(errors.InvalidParameter) as caught:
        KerasClassifier(model).fit(X, Y)
    has(caught.value, "model", "function", repr(model))


def test_no_model_at_all_is_refused_with_the_way_out() -> None:
    with pytest.raises(errors.InvalidParameter) as caught:
        KerasRegressor().fit(X, V)
    has(caught.value, "KerasRegressor", "model=", "None", "build_model")


@pytest.mark.parametrize(
    "estimator, y", [(KerasClassifier(needs_units), Y), (KerasRegressor(needs_units), V)]
)
def test_a_required_parameter_of_the_builder_is_asked_for_by_name(estimator: Any, y: Any) -> None:
    with pytest.raises(errors.InvalidParameter) as caught:
        estimator.fit(X, y)
    name = type(estimator).__name__
    has(caught.value, "needs_units", "units", f"{name}(needs_units, units=")


# --- model, output and loss against the target ---------------------------------------------------


@pytest.mark.parametrize(
    "builder, y, parts",
    [
        (softmax, np.arange(24) % 5, ["5 classes", "3 units"]),
        (functools.partial(softmax, units=1), Y, ["3 classes", "1 unit"]),
        (functools.partial(softmax, units=4), np.array(list("abc"))[Y], ["3 classes", "4 units"]),
        (functools.partial(softmax, units=4), np.eye(3)[Y], ["3 columns", "4 units"]),
        (functools.partial(sigmoid, units=2), [[1, 1, 0], [0, 0, 1]] * 12, ["3 labels", "2 units"]),
        (sigmoid, Y, ["3 classes", "1 unit"]),
        (two_heads, Y, ["2 outputs", "1 column"]),
        (softmax, np.column_stack([Y, Y]), ["2 columns", "2 outputs"]),
    ],
)
def test_an_output_that_does_not_fit_the_classes_is_refused(
    builder: Any, y: Any, parts: list[str]
) -> None:
    with pytest.raises(errors.TargetMismatch) as caught:
        KerasClassifier(builder).fit(X, y)
    has(caught.value, *parts)


def test_an_output_of_several_dimensions_is_refused_for_one_label_per_row() -> None:
    def rows_of_rows() -> keras.Model:
        return keras.Sequential([keras.layers.Dense(3, "softmax")])

    with pytest.raises(errors.TargetMismatch, match="Flatten"):
        KerasClassifier(rows_of_rows).fit(X.reshape(24, 2, 2), Y)


@pytest.mark.parametrize(
    "builder, y, parts",
    [
        (functools.partial(linear, units=2), V, ["1 column", "(2,)", "1 unit"]),
        (linear, np.column_stack([V, V]), ["2 columns", "(1,)", "2 units"]),
        (two_heads, V, ["1 column"]),
    ],
)
def test_an_output_that_does_not_fit_the_numbers_is_refused(
    builder: Any, y: Any, parts: list[str]
) -> None:
    with pytest.raises(errors.TargetMismatch) as caught:
        KerasRegressor(builder).fit(X, y)
    has(caught.value, "y", *parts)


@pytest.mark.parametrize(
    "estimator, y, loss",
    [
        (KerasClassifier(sigmoid), Y % 2, "categorical_crossentropy"),
        (KerasClassifier(sigmoid), Y % 2, "sparse_categorical_crossentropy"),
        (KerasClassifier(sigmoid), Y % 2, keras.losses.CategoricalCrossentropy()),
        (KerasClassifier(sigmoid, units=2), [[1, 1], [0, 1]] * 12, "categorical_crossentropy"),
        (
            KerasClassifier(sigmoid, units=2),
            [[1, 1], [0, 1]] * 12,
            keras.losses.SparseCategoricalCrossentropy,
        ),
        (KerasRegressor(linear), V, "categorical_crossentropy"),
        (KerasRegressor(linear), V, "sparse_categorical_crossentropy"),
    ],
)
def test_a_loss_that_does_not_fit_the_target_is_refused(estimator: Any, y: Any, loss: Any) -> None:
    with pytest.raises(errors.TargetMismatch) as caught:
        estimator.set_params(loss=loss).fit(X, y)
    has(caught.value, "loss", "categorical_crossentropy", "Use ")


def test_a_loss_that_the_builder_compiled_is_held_against_the_target_too() -> None:
    def mismatched() -> keras.Model:
        model = sigmoid()
        model.compile("adam", "categorical_crossentropy")
        return model

    with pytest.raises(errors.TargetMismatch, match="categorical_crossentropy.*binary"):
        KerasClassifier(mismatched).fit(X, Y % 2)


@pytest.mark.parametrize("builder", [linear, functools.partial(linear, units=3)], ids=["1", "3"])
def test_a_loss_that_cannot_be_chosen_has_to_be_given(builder: Any) -> None:
    y = Y % 2 if builder is linear else Y
    with pytest.raises(errors.TargetMismatch) as caught:
        KerasClassifier(builder).fit(X, y)
    has(caught.value, "loss", "linear", "Give loss=", "sigmoid", "softmax")


@pytest.mark.parametrize(
    "name", ["optimizer", "loss", "metrics"], ids=["optimizer", "loss", "metrics"]
)
@pytest.mark.parametrize("builder", [softmax, compiled], ids=["uncompiled", "compiled"])
def test_a_name_that_keras_does_not_know_is_refused_under_its_argument(
    name: str, builder: Any
) -> None:
    value: Any = ["adamm"] if name == "metrics" else "adamm"
    with pytest.raises(errors.InvalidParameter) as caught:
        KerasClassifier(builder, **{name: value}).fit(X, Y)
    has(caught.value, name, "adamm")


def test_a_wrong_optimizer_name_is_told_also_when_it_has_arguments() -> None:
    with pytest.raises(errors.InvalidParameter) as caught:
        KerasClassifier(softmax, optimizer="adamm", optimizer__learning_rate=0.1).fit(X, Y)
    has(caught.value, "optimizer", "adamm")


@pytest.mark.parametrize("value", [42, object(), ["adam"], {"name": "adam"}])
def test_an_optimizer_of_the_wrong_kind_is_refused(value: Any) -> None:
    with pytest.raises(errors.InvalidParameter) as caught:
        KerasClassifier(softmax, optimizer=value).fit(X, Y)
    has(caught.value, "optimizer")


@pytest.mark.parametrize(
    "name, value",
    [
        ("optimizer__learning_rat", 0.1),
        ("loss__smoothing", 0.1),
        ("metrics__0__thresh", 1),
        ("callbacks__0__patients", 1),
    ],
)
def test_an_argument_that_an_object_does_not_take_is_told_by_its_routed_name(
    name: str, value: Any
) -> None:
    estimator = KerasClassifier(
        softmax,
        loss="categorical_crossentropy",
        metrics=["AUC"],
        callbacks=[keras.callbacks.EarlyStopping],
    )
    with pytest.raises(errors.InvalidParameter) as caught:
        estimator.set_params(**{name: value}).fit(X, Y)
    has(caught.value, name)


@pytest.mark.parametrize("name", ["metrics__3__name", "callbacks__3__patience"])
def test_an_index_that_a_list_does_not_have_is_refused(name: str) -> None:
    estimator = KerasClassifier(
        softmax, metrics=["AUC"], callbacks=[keras.callbacks.EarlyStopping], **{name: 1}
    )
    with pytest.raises(errors.InvalidParameter) as caught:
        estimator.fit(X, Y)
    has(caught.value, name)


@pytest.mark.parametrize(
    "callbacks",
    [42, "NoSuch", ["NoSuch"], [lambda: 1], [keras.layers.Dense], {"a": 3}, [keras.optimizers.SGD]],
)
def test_what_is_no_callback_is_refused(callbacks: Any) -> None:
    with pytest.raises(errors.InvalidParameter) as caught:
        KerasClassifier(softmax, callbacks=callbacks).fit(X, Y)
    has(caught.value, "callbacks")
    with pytest.raises(errors.InvalidParameter, match="callbacks"):
        KerasClassifier(softmax).fit(X, Y, callbacks=callbacks)


def test_a_model_for_other_features_is_refused_with_both_shapes() -> None:
    with pytest.raises(errors.InvalidModel) as caught:
        KerasClassifier(four_features).fit(X[:, :3], Y)
    has(caught.value, "(4,)", "(3,)", "meta['n_features_in_']")


def test_a_model_that_wants_images_refuses_a_table() -> None:
    def for_images() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(2, 3),
                keras.layers.Flatten(),
                keras.layers.Dense(3, "softmax"),
            ]
        )

    with pytest.raises(errors.InvalidModel) as caught:
        KerasClassifier(for_images).fit(X, Y)
    has(caught.value, "X", "(4,)")
    assert "\x1b" not in str(caught.value), "terminal colours of Keras in the message"
    assert "(0, 4)" not in str(caught.value), "X has 24 rows"


# --- X, y and weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "estimator, y", [(KerasClassifier(softmax), Y), (KerasRegressor(linear), V)], ids=["c", "r"]
)
def test_nan_and_infinity_in_x_are_refused(estimator: Any, y: Any, value: float) -> None:
    with pytest.raises(ValueError) as caught:
        estimator.fit(with_one(value), y)
    has(caught.value, "X", "NaN" if np.isnan(value) else "infinity")


def test_a_number_too_large_for_keras_floats_is_refused_as_infinity() -> None:
    with pytest.raises(ValueError) as caught:
        KerasClassifier(softmax).fit(with_one(1e300), Y)
    has(caught.value, "X", "float32")


def test_a_target_too_large_for_keras_floats_is_refused_as_infinity() -> None:
    with pytest.raises(ValueError) as caught:
        KerasRegressor(linear).fit(X, with_one(1e300, V))
    has(caught.value, "y", "float32")


@pytest.mark.parametrize("shape", [(24, 2, 2), (24, 2, 2, 1)])
def test_nan_in_images_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="X.*NaN"):
        KerasClassifier(flat_softmax).fit(with_one(np.nan).reshape(shape), Y)


@pytest.mark.parametrize("kind", [lambda **arrays: Inputs(**arrays), dict], ids=["Inputs", "dict"])
def test_nan_in_one_of_several_inputs_names_that_input(kind: Any) -> None:
    with pytest.raises(ValueError) as caught:
        KerasClassifier(two_inputs).fit(kind(a=TWO["a"], c=with_one(np.nan, TWO["c"])), Y)
    has(caught.value, "X['c']", "NaN")


def test_nan_in_a_sparse_matrix_is_refused() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(ValueError, match="NaN"):
        KerasClassifier(softmax).fit(sparse.csr_matrix(with_one(np.nan)), Y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_in_the_numbers_to_predict_are_refused(value: float) -> None:
    with pytest.raises(errors.InvalidData) as caught:
        KerasRegressor(linear).fit(X, with_one(value, V))
    has(caught.value, "y", "NaN")


@pytest.mark.parametrize("missing", [np.nan, None])
@pytest.mark.parametrize("labels", [[0.0, 1.0, 2.0], ["a", "b", "c"]], ids=["numbers", "strings"])
def test_a_missing_label_is_refused(labels: list[Any], missing: Any) -> None:
    y = [labels[i] for i in Y]
    y[5] = missing
    with pytest.raises(errors.InvalidData) as caught:
        KerasClassifier(softmax).fit(X, np.array(y, dtype=object))
    has(caught.value, "y", "missing" if missing is None else "NaN")


@pytest.mark.parametrize("dtype", ["Int64", "string", "category"])
def test_a_missing_label_of_pandas_is_refused(dtype: str) -> None:
    pandas = pytest.importorskip("pandas")
    labels: list[Any] = [*Y] if dtype == "Int64" else [str(label) for label in Y]
    y = pandas.Series([None, *labels[1:]], dtype=dtype)
    with pytest.raises(errors.InvalidData) as caught:
        KerasClassifier(softmax).fit(X, y)
    has(caught.value, "y")


@pytest.mark.parametrize("estimator", [KerasClassifier(softmax), KerasRegressor(linear)])
def test_no_target_is_refused(estimator: Any) -> None:
    with pytest.raises(errors.InvalidData, match="y .*None"):
        estimator.fit(X, None)


def test_numbers_for_a_classifier_are_refused() -> None:
    with pytest.raises(ValueError) as caught:
        KerasClassifier(softmax).fit(X, V)
    has(caught.value, "continuous", "label")


@pytest.mark.parametrize("y", [np.array(list("abc"))[Y], [{"a": 1}] * 24], ids=["str", "dict"])
def test_what_is_no_number_is_refused_by_a_regressor(y: Any) -> None:
    with pytest.raises(errors.InvalidData) as caught:
        KerasRegressor(linear).fit(X, y)
    has(caught.value, "y", "number")


def test_a_target_of_three_dimensions_is_refused_by_a_classifier() -> None:
    with pytest.raises(errors.InvalidData, match=r"y .*\(24, 2, 2\)"):
        KerasClassifier(softmax).fit(X, np.zeros((24, 2, 2), dtype=int))


@pytest.mark.parametrize(
    "estimator, y",
    [(KerasClassifier(softmax), Y), (KerasRegressor(linear), V)],
    ids=["classifier", "regressor"],
)
def test_x_and_y_of_different_lengths_are_refused_by_name(estimator: Any, y: Any) -> None:
    with pytest.raises(ValueError) as caught:
        estimator.fit(X, y[:-1])
    has(caught.value, "24", "23")
    with pytest.raises(ValueError, match=r"\bX\b.*\by\b"):
        estimator.fit(X, y[:-1])


def test_several_inputs_of_different_lengths_are_refused_by_name() -> None:
    arrays = {"a": X, "c": X[:5]}
    with pytest.raises(errors.InvalidData) as caught:
        Inputs(**arrays)
    has(caught.value, "Inputs", "'a': 24", "'c': 5")
    with pytest.raises(errors.InvalidData) as caught:
        KerasClassifier(two_inputs).fit(arrays, Y)
    has(caught.value, "X", "'a': 24", "'c': 5")


def test_inputs_without_arrays_or_with_a_scalar_are_refused() -> None:
    with pytest.raises(errors.InvalidData, match="at least one"):
        Inputs()
    with pytest.raises(errors.InvalidData, match="'a'.*scalar"):
        Inputs(a=3.0)


@pytest.mark.parametrize("arrays", [{}, ()])
def test_a_dict_or_tuple_without_arrays_is_refused_in_words(arrays: Any) -> None:
    with pytest.raises(ValueError, match="X|array"):
        KerasClassifier(softmax).fit(arrays, Y)


@pytest.mark.parametrize("x", [X[:, 0], X[:0], X[:, :0], 3.0, "abc", None])
def test_an_x_that_is_no_table_is_refused(x: Any) -> None:
    with pytest.raises(ValueError):
        KerasClassifier(softmax).fit(x, Y)


def test_text_in_a_table_is_refused() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": X[:, 0], "b": np.array(list("abc"))[Y]})
    with pytest.raises(ValueError, match="string"):
        KerasClassifier(softmax).fit(frame, Y)


@pytest.mark.parametrize(
    "weights, parts",
    [
        (with_one(np.nan, V), ["NaN"]),
        (with_one(np.inf, V), ["infinity"]),
        (np.ones(23), ["(23,)", "(24,)"]),
        (np.ones((24, 2)), ["1D", "2D"]),
        (np.zeros(24), ["zero"]),
        (["a"] * 24, ["number"]),
    ],
    ids=["nan", "inf", "short", "two columns", "zeros", "strings"],
)
def test_wrong_sample_weights_are_refused(weights: Any, parts: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        KerasClassifier(softmax).fit(X, Y, sample_weight=weights)
    has(caught.value, *parts)
    assert "sample_weight" in str(caught.value) or "Sample weights" in str(caught.value)


@pytest.mark.parametrize(
    "weights",
    [{5: 1.0}, {"a": 1.0}, "balancedd", 3, [1.0, 2.0], {0: "x"}, {0: np.nan}, {0: -1.0}],
)
def test_wrong_class_weights_are_refused(weights: Any) -> None:
    with pytest.raises(errors.InvalidParameter) as caught:
        KerasClassifier(softmax, class_weight=weights).fit(X, Y)
    has(caught.value, "class_weight")
    with pytest.raises(errors.InvalidParameter, match="class_weight"):
        KerasClassifier(softmax).fit(X, Y, class_weight=weights)


def test_class_weights_are_refused_for_a_regressor() -> None:
    with pytest.raises(ValueError, match="class_weight"):
        KerasRegressor(linear, class_weight={0: 1.0}).fit(X, V)
    with pytest.raises(ValueError, match="class_weight"):
        KerasRegressor(linear).fit(X, V, class_weight={0: 1.0})


def test_classes_that_lack_a_label_of_y_are_refused() -> None:
    with pytest.raises(errors.InvalidData) as caught:
        KerasClassifier(softmax, classes=[0, 1]).fit(X, Y)
    has(caught.value, "y", "[2]", "classes=[0, 1]")
    with pytest.raises(errors.InvalidData, match="classes"):
        KerasClassifier(softmax).partial_fit(X, Y, classes=[0, 1])


# --- validation data, and going on ---------------------------------------------------------------


@pytest.mark.parametrize(
    "data, parts",
    [
        ((X, with_one(7, Y).astype(int)), ["[7]"]),
        ((X[:, :3], Y), ["3", "4"]),
        ((with_one(np.nan), Y), ["NaN"]),
        ((X, Y[:-1]), ["23", "24"]),
        ((X, Y, with_one(np.nan, V)), ["NaN"]),
        ((X, None), ["None"]),
        ((X,), ["(X, y)"]),
        (X, ["(X, y)"]),
        ("abc", ["(X, y)"]),
        ((X, Y, V, V), ["(X, y)"]),
    ],
    ids="label,features,nan,length,weight,none,single,array,string,four".split(","),
)
def test_validation_data_that_cannot_be_used_is_refused_by_its_name(
    data: Any, parts: list[str]
) -> None:
    with pytest.raises(ValueError) as caught:
        KerasClassifier(softmax).fit(X, Y, validation_data=data)
    has(caught.value, "validation_data", *parts)


def test_validation_numbers_of_another_shape_are_refused() -> None:
    data = (X, np.column_stack([V, V]))
    with pytest.raises(errors.InvalidData, match="validation_data"):
        KerasRegressor(linear).fit(X, V, validation_data=data)


def test_a_warm_start_refuses_labels_and_features_that_fit_never_saw(
    fitted: dict[str, Any],
) -> None:
    import copy

    for name, new in [("classifier", 7), ("strings", "z")]:
        estimator = copy.deepcopy(fitted[name]).set_params(warm_start=True)
        y = np.array([estimator.classes_[i] for i in Y], dtype=object)
        y[3] = new
        y = np.array(y.tolist())
        with pytest.raises(errors.InvalidData, match=f"y .*{new}"):
            estimator.fit(X, y)
        with pytest.raises(ValueError, match="features"):
            estimator.fit(X[:, :3], Y)
        with pytest.raises(errors.InvalidData, match=f"{new}"):
            estimator.partial_fit(X, y)


@pytest.mark.parametrize(
    "arguments",
    [{"callbacks": [42]}, {"validation_data": (X, Y + 9)}, {"class_weight": "balancedd"}],
    ids=["callbacks", "validation_data", "class_weight"],
)
def test_a_fit_that_was_refused_leaves_no_fitted_estimator(arguments: dict[str, Any]) -> None:
    """It would predict with a model that nobody trained."""
    estimator = KerasClassifier(softmax)
    with pytest.raises(errors.AmaltheaError):
        estimator.fit(X, Y, **arguments)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_a_refused_second_fit_leaves_the_first_in_place() -> None:
    with training_with(Untrained()):
        estimator = KerasClassifier(softmax, random_state=0).fit(X, Y)
        model, before = estimator.model_, estimator.predict_proba(X)
        for x, y in [(X, np.arange(24) % 5), (X, Y + 0.5), (with_one(np.nan), Y)]:
            with pytest.raises(ValueError):
                estimator.fit(x, y)
            assert estimator.model_ is model
            np.testing.assert_array_equal(estimator.predict_proba(X), before)
            np.testing.assert_array_equal(estimator.predict(X), before.argmax(axis=1))


class Untrained(OneByOne):
    """Accepts every fit and trains nothing."""

    def fit(self, request: FitRequest) -> FitResult:
        return FitResult({}, [])

    def answer(self, request: PredictRequest) -> Any:
        return keras.ops.convert_to_numpy(request.model(request.x.astype("float32")))


# --- prediction ----------------------------------------------------------------------------------


def test_the_wrong_number_of_features_at_predict_is_refused(fitted: dict[str, Any]) -> None:
    for method in ("predict", "predict_proba"):
        with pytest.raises(ValueError) as caught:
            getattr(fitted["classifier"], method)(X[:, :3])
        has(caught.value, "3 features", "4 features", "KerasClassifier")
    with pytest.raises(ValueError, match="3 features.*KerasRegressor.*4 features"):
        fitted["regressor"].predict(X[:, :3])


def test_reordered_renamed_and_missing_columns_at_predict_are_refused(
    fitted: dict[str, Any],
) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["p", "q", "r", "s"])
    for other in (frame[["q", "p", "r", "s"]], frame.rename(columns={"p": "z"}), frame[["p"]]):
        with pytest.raises(ValueError, match="feature names"):
            fitted["named"].predict(other)


def test_rows_of_another_rank_at_predict_are_refused(fitted: dict[str, Any]) -> None:
    for name, x in [
        ("classifier", X.reshape(24, 2, 2)),
        ("classifier", X[0]),
        ("images", X),
        ("images", X.reshape(24, 4, 1)),
        ("images", X[:18].reshape(18, 2, 2, 1)),
    ]:
        with pytest.raises(ValueError, match="X|features|array"):
            fitted[name].predict(x)


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": TWO["a"]},
        {"a": TWO["a"], "b": TWO["c"]},
        {**TWO, "d": TWO["c"]},
        {"a": TWO["c"], "c": TWO["a"]},
    ],
    ids=["missing", "other", "extra", "swapped"],
)
def test_several_inputs_that_are_not_those_of_fit_are_refused(
    arrays: dict[str, Any], fitted: dict[str, Any]
) -> None:
    for x in (arrays, Inputs(**arrays)):
        with pytest.raises(errors.InvalidData) as caught:
            fitted["two"].predict(x)
        has(caught.value, "X", "fit", "'a'")


def test_one_array_where_fit_saw_several_is_refused(fitted: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="X"):
        fitted["two"].predict(X)
    with pytest.raises(ValueError, match="X"):
        fitted["classifier"].predict(Inputs(**TWO))


@pytest.mark.parametrize(
    "arrays",
    [{"a": X[:, :3]}, {"a": X[:, :3], "b": X[:, 3:]}, {**TWO, "d": X}],
    ids=["missing", "other", "extra"],
)
def test_inputs_that_the_model_does_not_have_are_refused(arrays: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidModel) as caught:
        KerasClassifier(two_inputs).fit(Inputs(**arrays), Y)
    has(caught.value, "inputs ['a', 'c']", str(sorted(arrays)))


def test_one_array_for_a_model_of_two_inputs_is_refused() -> None:
    with pytest.raises(errors.InvalidModel) as caught:
        KerasClassifier(two_inputs).fit(X, Y)
    has(caught.value, "2 inputs", "'a'", "'c'", "Inputs(")
    with pytest.raises(errors.InvalidModel, match="1 input"):
        KerasClassifier(four_features).fit((X, X), Y)


@pytest.mark.parametrize("estimator", [KerasClassifier(softmax), KerasRegressor(linear)])
def test_what_needs_a_fit_says_so_before_one(estimator: Any, tmp_path: Any) -> None:
    calls = [
        lambda: estimator.predict(X),
        lambda: estimator.score(X, Y),
        lambda: estimator.save(tmp_path / "file"),
    ]
    if hasattr(estimator, "predict_proba"):
        calls.append(lambda: estimator.predict_proba(X))
    for call in calls:
        with pytest.raises(NotFittedError, match="not fitted yet"):
            call()


def test_the_best_epoch_needs_a_fit_and_an_epoch(fitted: dict[str, Any]) -> None:
    with pytest.raises(NotFittedError, match="not fitted yet"):
        _ = KerasClassifier(softmax).best_epoch_
    with pytest.raises(AttributeError, match="at least one epoch"):
        _ = fitted["classifier"].best_epoch_


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, value",
    [
        *[("epochs", value) for value in (-1, 2.0, "3", None, True, [1])],
        *[("batch_size", value) for value in (0, -2, 2.5, "8", "All", True, [1])],
        *[("validation_batch_size", value) for value in (0, -2, 2.5, "8")],
        *[("validation_split", value) for value in (-0.1, 1, 1.0, 1.5, "0.2", np.nan, None, True)],
        *[("validation_fraction", value) for value in (-0.1, 1.0, "0.2")],
        *[("patience", value) for value in (-1, 1.5, "2", None)],
        *[("random_state", value) for value in (-1, 2**32, 1.5, "0", True)],
        *[
            (name, value)
            for name in ("shuffle", "early_stopping", "restore_best_weights", "warm_start")
            for value in ("yes", None, 2)
        ],
    ],
)
def test_a_value_that_cannot_work_is_refused_with_the_name_and_what_came(
    name: str, value: Any
) -> None:
    for estimator, y in [(KerasClassifier(softmax), Y), (KerasRegressor(linear), V)]:
        with pytest.raises(errors.InvalidParameter) as caught:
            estimator.set_params(**{name: value}).fit(X, y)
        has(caught.value, name, "must be", repr(value))


@pytest.mark.parametrize("name, value", [("epochs", -1), ("batch_size", 0), ("batch_size", "8")])
def test_a_wrong_value_is_refused_also_as_an_argument_of_fit(name: str, value: Any) -> None:
    with pytest.raises(errors.InvalidParameter, match=f"{name} must be .*{value}"):
        KerasClassifier(softmax).fit(X, Y, **{name: value})
    with pytest.raises(errors.InvalidParameter, match=f"{name} must be .*{value}"):
        KerasClassifier(softmax, **{f"fit__{name}": value}).fit(X, Y)


def test_a_wrong_batch_size_for_prediction_is_refused(fitted: dict[str, Any]) -> None:
    import copy

    estimator = copy.deepcopy(fitted["classifier"]).set_params(predict__batch_size=0)
    with pytest.raises(errors.InvalidParameter, match="predict__batch_size must be .*0"):
        estimator.predict(X)


def test_too_few_rows_for_a_validation_split_are_refused() -> None:
    with pytest.raises(errors.InvalidParameter) as caught:
        KerasClassifier(softmax, validation_split=0.05).fit(X, Y)
    has(caught.value, "validation", "24", "0.05")


@pytest.mark.parametrize(
    "given, parts",
    [
        ({"hidden": 5, "model__hidden": 5}, ["hidden=5", "model__hidden=5"]),
        ({"epochs": 1, "fit__epochs": 3}, ["epochs=1", "fit__epochs=3"]),
        ({"batch_size": 4, "fit__batch_size": 8}, ["batch_size=4", "fit__batch_size=8"]),
        ({"optimizer": "adam", "compile__optimizer": "sgd"}, ["'adam'", "compile__optimizer"]),
        ({"callbacks": [], "fit__callbacks": None}, ["callbacks=[]", "fit__callbacks=None"]),
        ({"build_fn": softmax}, ["model=", "build_fn="]),
    ],
)
def test_a_parameter_given_twice_is_refused_under_both_names(
    given: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(errors.DuplicateParameter) as caught:
        KerasClassifier(softmax, **given).fit(X, Y)
    has(caught.value, "twice", *parts)


def test_a_parameter_given_twice_to_a_builder_of_any_is_refused() -> None:
    with pytest.raises(errors.DuplicateParameter, match="twice"):
        KerasClassifier(with_any, hidden=5, model__hidden=5).fit(X, Y)


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("hiden", "hidden"),
        ("model__hiden", "hidden"),
        ("epoch", "epochs"),
        ("batchsize", "batch_size"),
        ("fit__epoch", "fit__epochs"),
        ("predict__batchsize", "predict__batch_size"),
        ("compile__metric", "compile__metrics"),
        ("optimiser__learning_rate", "optimizer__learning_rate"),
        ("optimizer_learning_rate", "optimizer__learning_rate"),
        ("callback__0__patience", "callbacks__0__patience"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(name: str, nearest: str) -> None:
    estimator = KerasClassifier(softmax, **{name: 3})
    assert estimator.get_params()[name] == 3
    with pytest.raises(errors.UnknownParameter) as caught:
        estimator.fit(X, Y)
    has(caught.value, repr(name), f"Did you mean {nearest!r}?")


def test_an_unknown_name_is_refused_with_the_names_known() -> None:
    with pytest.raises(errors.UnknownParameter) as caught:
        KerasClassifier(softmax, qwertz=3).fit(X, Y)
    has(caught.value, "'qwertz'", "hidden, units", "epochs", "optimizer__", "model__")
    assert "Did you mean" not in str(caught.value)


def test_an_unknown_argument_of_fit_is_refused_with_the_names_known() -> None:
    with pytest.raises(TypeError) as caught:
        KerasClassifier(softmax).fit(X, Y, epoch=3)
    has(caught.value, "'epoch'", "epochs", "batch_size")


def test_a_builder_that_takes_any_name_still_refuses_a_wrong_destination() -> None:
    with pytest.raises(errors.UnknownParameter, match="fit__epochs"):
        KerasClassifier(with_any, fit__epoch=3).fit(X, Y)


def test_a_prebuilt_model_has_no_parameters_to_set() -> None:
    with pytest.raises(errors.UnknownParameter, match="hidden"):
        KerasClassifier(four_features(), hidden=3).fit(X, Y)


@pytest.mark.parametrize(
    "grid, parts",
    [
        ([], ["param_grid"]),
        ({"hidden": []}, ["hidden"]),
        ({"hiden": [1, 2]}, ["hiden", "hidden"]),
        ({"epochs": [1, -1]}, ["epochs", "-1"]),
        ({"hidden": 3}, ["hidden"]),
    ],
)
def test_a_grid_that_cannot_work_is_refused_before_its_first_fit(
    grid: Any, parts: list[str]
) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        GridSearchCV(KerasClassifier(softmax), grid, cv=2).fit(X, Y)
    has(caught.value, *parts)


def test_every_error_is_also_the_one_that_callers_already_catch() -> None:
    for kind, builtin in [
        (errors.InvalidParameter, ValueError),
        (errors.UnknownParameter, ValueError),
        (errors.DuplicateParameter, ValueError),
        (errors.InvalidModel, ValueError),
        (errors.TargetMismatch, ValueError),
        (errors.InvalidModelType, TypeError),
        (errors.InvalidData, ValueError),
        (errors.BuildError, RuntimeError),
    ]:
        assert issubclass(kind, builtin) and issubclass(kind, amalthea.errors.AmaltheaError)


def test_nothing_that_was_refused_has_changed_the_callers_arrays() -> None:
    x, y, weights = X.copy(), Y.copy(), np.ones(24)
    with pytest.raises(errors.AmaltheaError):
        KerasClassifier(softmax, epochs=-1).fit(x, y, sample_weight=weights)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(weights, np.ones(24))
