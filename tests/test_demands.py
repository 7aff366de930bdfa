"""What users of the old wrappers ask for most, one test each, by the rank of the demand.

Left out are those that an estimator cannot meet: parallel searches, memory of a whole search and
several GPUs (4-6), generators, progress and resuming (16-18), and other backends (25).
"""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import amalthea
import builders
from amalthea import GridSearchCV, Inputs, KerasClassifier, KerasRegressor


def quick(builder: Any = builders.classifier, **parameters: Any) -> KerasClassifier:
    return KerasClassifier(builder, **{"random_state": 0, "optimizer": "adam", **parameters})


TUTORIAL = """
import numpy as npp
from sklearn.model_selection import GridSearchCV
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from keras.models import Sequential
from keras.layers import Dense
from amalthea import KerasClassifier

irisd = load_iris()
X = irisd.data
y = irisd.target
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=42)

def create_model(units=10, activation='relu'):
   model = Sequential()
   model.add(Dense(units=units, activation=activation, input_dim=4))
   model.add(Dense(units=3, activation='softmax'))
   model.compile(optimizer='adam', loss='sparse_categorical_crossentropy', metrics=['accuracy'])
   return model

model = KerasClassifier(build_fn=create_model)
param_grid = {
   'units': [5, 10, 15],
   'activation': ['relu', 'sigmoid']
}
grid = GridSearchCV(estimator=model, param_grid=param_grid, cv=3)
grid_result = grid.fit(X_train, y_train)
print("Best Parameters: ", grid_result.best_params_)
print("Best Score: ", grid_result.best_score_)
best_model = grid_result.best_estimator_
test_accuracy = best_model.score(X_test, y_test)
print("Test Accuracy: ", test_accuracy)
"""


@pytest.mark.slow
def test_01_the_old_program_runs_with_another_import(tmp_path: Path) -> None:
    """The tutorial's program as it stands, where nobody has chosen a backend of Keras."""
    program = tmp_path / "program.py"
    program.write_text(TUTORIAL)
    env = {n: v for n, v in os.environ.items() if n not in ("KERAS_BACKEND", "KERAS_HOME")}
    env["HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, env=env, check=True
    )
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "Best Parameters",
        "Best Score",
        "Test Accuracy",
    ]
    assert done.stderr.count("Do not pass an `input_shape`/`input_dim`") == 1  # Keras's own


def test_02_scikit_learn_reads_its_tags() -> None:
    from sklearn.utils import get_tags

    assert get_tags(quick()).classifier_tags is not None
    assert get_tags(KerasRegressor(builders.regressor)).regressor_tags is not None


def test_03_only_public_names_of_keras_but_for_one_file() -> None:
    root = Path(amalthea.__file__).parent
    touching = {p.name for p in root.rglob("*.py") if "keras.src" in p.read_text()}
    assert touching == {"privates.py"}


def test_07_early_stopping_keeps_the_best_epoch_and_wastes_nothing_unless_asked(iris: Any) -> None:
    X, y = iris
    common = {"epochs": 30, "early_stopping": True, "patience": 2, "batch_size": 16}
    held = quick(**common, validation_fraction=0.2, optimizer__learning_rate=0.3).fit(X, y)
    assert held.n_epochs_ < 30
    assert len(held.validation_rows_) == 30
    assert np.bincount(y[held.validation_rows_]).tolist() == [10, 10, 10]
    best = held.history_["val_loss"][held.best_epoch_]
    rows = held.validation_rows_
    now = -np.log(held.predict_proba(X[rows])[np.arange(30), y[rows]]).mean()
    np.testing.assert_allclose(now, best, rtol=1e-4)
    whole = quick(**common, validation_fraction=None, optimizer__learning_rate=0.3).fit(X, y)
    assert "val_loss" not in whole.history_ and not hasattr(whole, "validation_rows_")


def test_08_validation_data_is_encoded_like_y(iris: Any) -> None:
    X, y = iris
    names = np.array(["c", "a", "b"])[y]
    fitted = quick(metrics=["accuracy"]).fit(X, names, validation_data=(X[:50], names[:50]))
    right = fitted.score(X[:50], names[:50])
    np.testing.assert_allclose(fitted.history_["val_accuracy"][-1], right, rtol=1e-6)
    with pytest.raises(ValueError, match="'d'"):
        quick().fit(X, names, validation_data=(X[:2], ["a", "d"]))


def test_09_callbacks_in_a_search_are_fresh_for_each_fit(iris: Any) -> None:
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=0, min_delta=10.0)
    scores = cross_validate(quick(callbacks=[stop], epochs=4), *iris, cv=3, return_estimator=True)
    assert [fitted.n_epochs_ for fitted in scores["estimator"]] == [2, 2, 2]
    assert stop.stopped_epoch == 0 and stop.model is None
    grid = GridSearchCV(
        quick(callbacks=keras.callbacks.EarlyStopping, callbacks__monitor="loss", epochs=3),
        {"callbacks__patience": [0, 1]},
        cv=2,
    ).fit(*iris)
    assert len(grid.cv_results_["params"]) == 2


def test_10_folds_are_stratified_and_roc_auc_works(iris: Any) -> None:
    assert is_classifier(quick())
    scores = cross_val_score(quick(epochs=2), *iris, cv=3, scoring="roc_auc_ovr")
    assert np.isfinite(scores).all() and (scores > 0).all()


def test_11_everything_can_be_cloned() -> None:
    instances = {
        "optimizer": keras.optimizers.Adam(0.1),
        "loss": keras.losses.SparseCategoricalCrossentropy(),
        "metrics": [keras.metrics.SparseCategoricalAccuracy()],
        "callbacks": [keras.callbacks.ReduceLROnPlateau()],
    }
    estimator = KerasClassifier(builders.compiled_classifier, **instances)
    assert clone(clone(estimator)).get_params().keys() == estimator.get_params().keys()


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_12_targets_are_encoded_as_the_loss_wants(iris: Any, loss: str) -> None:
    X, y = iris
    from_labels = quick(loss=loss).fit(X, y)
    from_one_hot = quick(loss=loss).fit(X, np.eye(3)[y])
    np.testing.assert_allclose(
        from_labels.predict_proba(X), from_one_hot.predict_proba(X), rtol=1e-5
    )
    assert from_one_hot.predict(X).shape == (150, 3)


def test_13_a_loss_is_chosen(iris: Any) -> None:
    X, y = iris
    assert quick().fit(X, y).model_.loss == "sparse_categorical_crossentropy"
    assert quick(builders.for_any_classes).fit(X, y > 0).model_.loss == "binary_crossentropy"
    regressor = KerasRegressor(builders.regressor, random_state=0).fit(X, X[:, 0])
    assert regressor.model_.loss == "mean_squared_error"


def two_inputs(units: int = 4) -> keras.Model:
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    hidden = keras.layers.Dense(units, "relu")(keras.layers.Concatenate()([a, b]))
    return keras.Model([a, b], keras.layers.Dense(3, "softmax")(hidden))


def test_14_a_model_with_several_inputs_in_a_grid(iris: Any) -> None:
    X = Inputs(a=iris[0][:, :2], b=iris[0][:, 2:])
    grid = GridSearchCV(quick(two_inputs), {"units": [2, 4]}, cv=2).fit(X, iris[1])
    assert grid.predict(X[:7]).shape == (7,)


def images(filters: int = 2) -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [layers.Conv2D(filters, 3), layers.GlobalMaxPooling2D(), layers.Dense(10, "softmax")]
    )


def sequences(units: int = 3) -> keras.Model:
    return keras.Sequential(
        [keras.layers.Embedding(20, 4), keras.layers.GRU(units), keras.layers.Dense(1, "sigmoid")]
    )


def test_15_images_and_sequences() -> None:
    X, y = load_digits(return_X_y=True)
    pictures = X[:80].reshape(-1, 8, 8, 1).astype("uint8")
    assert quick(images).fit(pictures, y[:80]).predict(pictures[:3]).shape == (3,)
    words = np.random.default_rng(0).integers(0, 20, size=(40, 6))
    fitted = quick(sequences).fit(words, words[:, 0] > 9)
    assert fitted.predict_proba(words[:1]).shape == (1, 2)


def test_19_histories_and_the_best_epoch_of_every_fit(iris: Any) -> None:
    scores = cross_validate(
        quick(epochs=3, validation_split=0.2), *iris, cv=2, return_estimator=True
    )
    for fitted in scores["estimator"]:
        assert len(fitted.history_["val_loss"]) == fitted.n_epochs_ == 3
        assert fitted.best_epoch_ == int(np.argmin(fitted.history_["val_loss"]))


def test_20_a_search_can_be_pickled(iris: Any) -> None:
    grid = GridSearchCV(quick(), {"units": [2]}, cv=2).fit(*iris)
    again = pickle.loads(pickle.dumps(grid))
    assert np.array_equal(again.predict_proba(iris[0]), grid.predict_proba(iris[0]))


def test_21_seeds_repeat_a_search_and_leave_the_global_state(iris: Any) -> None:
    def search() -> Any:
        return GridSearchCV(quick(), {"units": [2, 5]}, cv=2).fit(*iris)

    state = random.getstate(), np.random.get_state()[1].tolist()
    first, second = search(), search()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state
    for name in ("split0_test_score", "split1_test_score"):
        assert np.array_equal(first.cv_results_[name], second.cv_results_[name])


def test_22_sample_and_class_weights_in_a_search(iris: Any) -> None:
    X, y = iris
    weights = np.where(y == 0, 100.0, 1e-3)
    before = weights.copy()
    heavy = {0: 1e-3, 1: 1e-3, 2: 100.0}
    grid = GridSearchCV(
        quick(epochs=12, optimizer__learning_rate=0.05, batch_size=8),
        {"class_weight": [None, heavy]},
        cv=2,
        refit=False,
        return_train_score=True,
    )
    grid.fit(X, y, sample_weight=weights)
    assert np.array_equal(weights, before)
    fitted = quick(epochs=12, optimizer__learning_rate=0.05, batch_size=8, class_weight=heavy)
    assert (fitted.fit(X, y).predict(X) == 2).mean() > 0.9
    assert (fitted.set_params(class_weight=None).fit(X, y, weights).predict(X) == 0).mean() > 0.9


def test_23_later_fits_and_predictions_are_quiet_and_trace_nothing_anew(iris: Any) -> None:
    X, y = iris
    calls = []

    class Counted(keras.layers.Dense):
        def call(self, inputs: Any, training: Any = None) -> Any:
            calls.append(1)
            return super().call(inputs)

    def build() -> keras.Model:
        return keras.Sequential([keras.Input((4,)), Counted(3, activation="softmax")])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = quick(build, epochs=2).fit(X, y)
        fitted.predict(X[:5])
        before = len(calls)
        for rows in (1, 7, 32, 33, 150):
            fitted.predict(X[:rows])
    assert len(calls) == before


def test_24_a_prebuilt_model_starts_anew_in_every_fold(iris: Any) -> None:
    model = builders.compiled_classifier()
    before = [np.array(value) for value in model.get_weights()]
    from_model = cross_val_score(quick(model), *iris, cv=3)
    again = cross_val_score(quick(model), *iris, cv=3)
    assert np.array_equal(from_model, again)
    for old, now in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(old, now)


def test_a_pipeline_is_searched_by_the_names_of_the_builder(iris: Any) -> None:
    pipeline = make_pipeline(StandardScaler(), quick())
    grid = GridSearchCV(pipeline, {"kerasclassifier__units": [2, 3]}, cv=2).fit(*iris)
    assert set(grid.best_params_) == {"kerasclassifier__units"}
