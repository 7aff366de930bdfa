"""Pickling, copying, saving and loading keep a fitted estimator whole."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import keras
import numpy as np
import pytest

import amalthea
import builders
from amalthea import Inputs, KerasClassifier, KerasRegressor
from amalthea.errors import AmaltheaWarning, InvalidData, InvalidModel, InvalidParameter


class Scale(keras.layers.Layer):
    """A layer that nobody registered, with an argument outside its config."""

    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        self.factor = factor

    def call(self, x: Any) -> Any:
        return x * self.factor


def with_custom_layer(units: int = 4, factor: float = 3.0) -> keras.Model:
    return keras.Sequential(
        [keras.layers.Dense(units), Scale(factor), keras.layers.Dense(3, activation="softmax")]
    )


def with_lambda(units: int = 4) -> keras.Model:
    return keras.Sequential(
        [keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(3, activation="softmax")]
    )


def through_joblib(estimator: Any) -> Any:
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


WAYS = {
    "pickle": lambda estimator: pickle.loads(pickle.dumps(estimator)),
    "cloudpickle": lambda estimator: cloudpickle.loads(cloudpickle.dumps(estimator)),
    "joblib": through_joblib,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("builder", [builders.classifier, with_custom_layer, with_lambda])
def test_a_copy_predicts_the_same_and_trains_on_the_same(iris: Any, builder: Any) -> None:
    X, y = iris
    fitted = KerasClassifier(builder, optimizer="adam", random_state=0, epochs=2).fit(X, y)
    expected = fitted.predict_proba(X)
    copies = {name: way(fitted) for name, way in WAYS.items()}
    after = fitted.partial_fit(X, y).predict_proba(X)
    for other in copies.values():
        assert np.array_equal(other.predict_proba(X), expected)
        assert other.n_epochs_ == 2
        assert np.array_equal(other.partial_fit(X, y).predict_proba(X), after)


def test_a_builder_of_this_scope_goes_through_cloudpickle(iris: Any) -> None:
    def local() -> keras.Model:
        return builders.classifier()

    fitted = KerasClassifier(local, random_state=0).fit(*iris)
    again = cloudpickle.loads(cloudpickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(iris[0]), fitted.predict_proba(iris[0]))


def test_parameters_set_after_fit_do_not_change_what_is_pickled(iris: Any) -> None:
    fitted = KerasClassifier(builders.classifier, units=5, random_state=0).fit(*iris)
    again = pickle.loads(pickle.dumps(fitted.set_params(units=9)))
    assert again.units == 9
    assert np.array_equal(again.predict_proba(iris[0]), fitted.predict_proba(iris[0]))


_units = 4


def changing() -> keras.Model:
    return builders.classifier(_units)


def test_a_builder_that_builds_another_model_now_is_told(
    iris: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pickle.dumps(KerasClassifier(changing, random_state=0).fit(*iris))
    monkeypatch.setitem(globals(), "_units", 7)
    with pytest.raises(InvalidModel, match="builds? another model|makes another model"):
        pickle.loads(data)


def test_saving_and_loading_keep_everything_that_was_learned(iris: Any, tmp_path: Path) -> None:
    X, y = iris
    labels = np.array(["setosa", "versicolor", "virginica"])[y]
    fitted = KerasClassifier(
        builders.classifier, optimizer="adam", units=5, epochs=2, random_state=3
    ).fit(X, labels)
    fitted.save(tmp_path / "model.amalthea")
    builder = {"classifier": builders.classifier}
    loaded = amalthea.load(tmp_path / "model.amalthea", custom_objects=builder)
    assert loaded.get_params() == fitted.get_params()
    assert loaded.classes_.tolist() == fitted.classes_.tolist()
    assert loaded.history_ == fitted.history_
    assert (loaded.seed_, loaded.n_epochs_, loaded.n_features_in_) == (3, 2, 4)
    assert np.array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert np.array_equal(loaded.predict(X), fitted.predict(X))
    after = fitted.partial_fit(X, labels).predict_proba(X)
    np.testing.assert_allclose(
        loaded.partial_fit(X, labels).predict_proba(X), after, rtol=1e-5, atol=1e-7
    )


def test_a_regressor_of_several_inputs_and_named_columns_can_be_saved(tmp_path: Path) -> None:
    def build() -> keras.Model:
        a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
        joined = keras.layers.Concatenate()([a, b])
        return keras.Model([a, b], keras.layers.Dense(2)(joined))

    rng = np.random.default_rng(0)
    X = Inputs(a=rng.normal(size=(20, 3)), b=rng.normal(size=(20, 2)))
    y = rng.normal(size=(20, 2))
    fitted = KerasRegressor(build, random_state=0).fit(X, y)
    fitted.save(tmp_path / "file")
    loaded = amalthea.load(tmp_path / "file")
    assert np.array_equal(loaded.predict(X), fitted.predict(X))
    assert loaded.predict(X).dtype == np.float64


def test_feature_names_are_saved(tmp_path: Path, iris: Any) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(iris[0], columns=list("abcd"))
    KerasClassifier(builders.classifier, random_state=0).fit(frame, iris[1]).save(tmp_path / "f")
    loaded = amalthea.load(tmp_path / "f")
    assert loaded.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame[list("dcba")])


def test_loading_runs_no_code_from_the_file_unless_asked(iris: Any, tmp_path: Path) -> None:
    fitted = KerasClassifier(with_lambda, random_state=0).fit(*iris)
    fitted.save(tmp_path / "file")
    with pytest.raises(ValueError, match="(?i)lambda"):
        amalthea.load(tmp_path / "file")
    loaded = amalthea.load(tmp_path / "file", safe_mode=False)
    assert np.array_equal(loaded.predict(iris[0]), fitted.predict(iris[0]))


def test_loading_imports_no_module_that_the_file_names(iris: Any, tmp_path: Path) -> None:
    """In a process that never saw the builder the estimator predicts, and says what it lacks."""
    fitted = KerasClassifier(builders.classifier, random_state=0).fit(*iris)
    fitted.save(tmp_path / "file")
    np.save(tmp_path / "X.npy", iris[0])
    code = (
        "import sys, amalthea, numpy as np\n"
        "loaded = amalthea.load(sys.argv[1])\n"
        "assert loaded.model is None and 'builders' not in sys.modules\n"
        "np.save(sys.argv[3], loaded.predict_proba(np.load(sys.argv[2])))\n"
    )
    paths = [str(tmp_path / name) for name in ("file", "X.npy", "out.npy")]
    subprocess.run([sys.executable, "-c", code, *paths], check=True, env={**os.environ})
    assert np.array_equal(np.load(tmp_path / "out.npy"), fitted.predict_proba(iris[0]))


def test_custom_objects_are_found_by_name(iris: Any, tmp_path: Path) -> None:
    class Own(KerasClassifier):
        pass

    fitted = Own(builders.classifier, random_state=0).fit(*iris)
    fitted.save(tmp_path / "file")
    with pytest.raises(InvalidParameter, match="holds a Own"):
        amalthea.load(tmp_path / "file")
    loaded = amalthea.load(tmp_path / "file", custom_objects={"Own": Own})
    assert type(loaded) is Own


def test_what_cannot_be_written_is_told_and_the_model_is_saved(iris: Any, tmp_path: Path) -> None:
    callback = keras.callbacks.EarlyStopping(monitor="loss")
    fitted = KerasClassifier(builders.classifier, callbacks=callback, random_state=0).fit(*iris)
    with pytest.warns(AmaltheaWarning, match="callbacks=.*not saved"):
        fitted.save(tmp_path / "file")
    loaded = amalthea.load(tmp_path / "file")
    assert loaded.callbacks is None
    assert np.array_equal(loaded.predict(iris[0]), fitted.predict(iris[0]))


@pytest.mark.parametrize("content", [b"", b"not a zip"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InvalidData, match="no estimator saved by Amalthea"):
        amalthea.load(tmp_path / "file")


def test_a_file_of_a_later_format_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        archive.writestr("estimator.json", json.dumps({"format": 99}))
    with pytest.raises(InvalidData, match="format 99"):
        amalthea.load(tmp_path / "file")


def test_a_failed_save_leaves_the_old_file(
    iris: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = KerasClassifier(builders.classifier, random_state=0).fit(*iris)
    fitted.save(tmp_path / "file")
    before = (tmp_path / "file").read_bytes()

    def fail(*arguments: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(OSError, match="disk full"):
        fitted.save(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
