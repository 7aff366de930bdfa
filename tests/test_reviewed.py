"""What readers of the code found wrong, each once."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from scipy.stats import randint
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline

import amalthea
import builders
from amalthea import GridSearchCV, KerasClassifier, KerasRegressor, RandomizedSearchCV
from amalthea.errors import InvalidModel, InvalidParameter, UnknownParameter


def quick(builder: Any = builders.classifier, **parameters: Any) -> KerasClassifier:
    return KerasClassifier(builder, **{"random_state": 0, **parameters})


def test_a_file_cannot_name_what_is_called(iris: Any, tmp_path: Path) -> None:
    quick().fit(*iris).save(tmp_path / "good")
    marker = tmp_path / "ran"
    with zipfile.ZipFile(tmp_path / "good") as good, zipfile.ZipFile(tmp_path / "bad", "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            if name == "estimator.json":
                page = json.loads(content)
                page["given"] |= {
                    "model": {"reference": ["os", "system"]},
                    "model__command": f"touch {marker}",
                    "predict__callbacks": {"reference": ["subprocess", "Popen"]},
                    "predict__callbacks__args": ["touch", str(marker)],
                }
                content = json.dumps(page).encode()
            bad.writestr(name, content)
    loaded = amalthea.load(tmp_path / "bad")
    assert loaded.model is None
    with pytest.raises(ValueError):
        loaded.predict(iris[0])
    with pytest.raises(ValueError):
        loaded.fit(*iris)
    assert not marker.exists()


def test_what_is_no_callback_is_not_even_made(iris: Any) -> None:
    class Trap:
        def __init__(self) -> None:
            raise AssertionError("made")

    with pytest.raises(InvalidParameter, match="must hold Keras callbacks"):
        quick(callbacks=[Trap]).fit(*iris)


def test_metrics_have_the_same_names_in_every_fit(iris: Any) -> None:
    def build() -> keras.Model:
        model = builders.for_any_classes({"X_shape_": (0, 4), "target_type_": "binary"}, 4)
        model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.AUC()])
        return model

    X, y = iris[0], iris[1] > 0
    stop = keras.callbacks.EarlyStopping("val_auc", mode="max", patience=0, min_delta=9.0)
    for _ in range(3):
        fitted = quick(build, epochs=4, validation_split=0.2, callbacks=[stop]).fit(X, y)
        assert {"auc", "val_auc"} <= fitted.history_.keys()
        assert fitted.n_epochs_ == 2


def drawing(units: int = 4) -> keras.Model:
    """A builder that draws from NumPy's global generator."""
    return builders.classifier(units + int(np.random.randint(4)))


def test_threads_train_and_predict_as_one_thread_does(iris: Any) -> None:
    X, y = iris
    state = np.random.get_state()[1].tolist()
    alone = [cross_val_score(quick(drawing, units=u), X, y, cv=2) for u in (2, 4)]
    with parallel_config("threading", n_jobs=4):
        together = [cross_val_score(quick(drawing, units=u), X, y, cv=2) for u in (2, 4)]
    np.testing.assert_array_equal(alone, together)
    assert np.random.get_state()[1].tolist() == state
    fitted = quick().fit(X, y)
    parts = Parallel(4, backend="threading")(delayed(fitted.predict)(X[:k]) for k in range(1, 9))
    for part in parts:
        np.testing.assert_array_equal(part, fitted.predict(X)[: len(part)])


def test_mixed_precision_gives_scikit_learn_numbers_and_survives_a_pickle(iris: Any) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        fitted = quick().fit(*iris)
        scores = cross_val_score(quick(), *iris, cv=2, scoring="roc_auc_ovr")
    finally:
        keras.config.set_dtype_policy(before)
    assert np.isfinite(scores).all()
    assert fitted.predict_proba(iris[0]).dtype == np.float32
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict_proba(iris[0]), fitted.predict_proba(iris[0]))
    assert keras.config.dtype_policy().name == before.name


def needs(units: int) -> keras.Model:
    return builders.classifier(units)


def test_distributions_are_looked_at_and_may_give_what_a_builder_needs(iris: Any) -> None:
    search = RandomizedSearchCV(
        quick(needs), {"units": randint(2, 5)}, n_iter=1, cv=2, random_state=0
    ).fit(*iris)
    assert search.best_params_["units"] in (2, 3, 4)
    with pytest.raises(UnknownParameter, match="'unitz'"):
        RandomizedSearchCV(quick(needs, units=2), {"unitz": randint(2, 5)}).fit(*iris)


def test_a_grid_may_put_another_estimator_in_the_place_of_ours(iris: Any) -> None:
    pipeline = Pipeline([("model", quick())])
    grid = [
        {"model": [LogisticRegression(max_iter=500)], "model__C": [1.0]},
        {"model__units": [2]},
    ]
    assert len(GridSearchCV(pipeline, grid, cv=2).fit(*iris).cv_results_["params"]) == 2


def test_a_builder_may_mean_another_thing_by_classes_and_pretrained(iris: Any) -> None:
    seen = {}

    def build(classes: int = 3, pretrained: bool = True) -> keras.Model:
        seen.update(classes=classes, pretrained=pretrained)
        return builders.classifier(n_classes=classes)

    quick(build, classes=[0, 1, 2]).fit(*iris)
    assert seen == {"classes": 3, "pretrained": True}
    quick(build, model__pretrained=False).fit(*iris)
    assert seen == {"classes": 3, "pretrained": False}
    assert "pretrained" in quick(build).get_params()


def test_a_metric_with_a_value_per_class_is_kept_as_it_is(iris: Any) -> None:
    fitted = quick(loss="categorical_crossentropy", metrics=[keras.metrics.F1Score()]).fit(*iris)
    assert np.shape(fitted.history_["f1_score"]) == (1, 3)


def test_the_best_epoch_counts_epochs_and_not_validations(iris: Any) -> None:
    fitted = quick(epochs=4, optimizer="adam", validation_split=0.2, fit__validation_freq=2)
    fitted.fit(*iris)
    assert len(fitted.history_["val_loss"]) == 2
    assert fitted.best_epoch_ == [1, 3][int(np.argmin(fitted.history_["val_loss"]))]


def test_what_callbacks_write_into_the_logs_is_in_the_history(iris: Any) -> None:
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    fitted = quick(callbacks=[halve], epochs=2, optimizer="sgd").fit(*iris)
    np.testing.assert_allclose(fitted.history_["learning_rate"], [0.005, 0.0025])


def test_a_scaled_optimizer_stays_scaled(iris: Any) -> None:
    def build() -> keras.Model:
        scaled = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.1), initial_scale=8.0, dynamic_growth_steps=1000
        )
        return builders.compiled_classifier(optimizer=scaled)

    for changes in ({"metrics": ["accuracy"]}, {"optimizer__learning_rate": 0.2}):
        optimizer = quick(build, **changes).fit(*iris).model_.optimizer
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        assert float(np.asarray(optimizer.initial_scale)) == 8.0


class Penalised(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        y = self.dense(x)
        self.add_loss(keras.ops.mean(y**2))
        return y


def test_a_model_compiled_to_train_on_its_own_loss_gets_no_other() -> None:
    def build() -> keras.Model:
        model = Penalised()
        model.compile("sgd")
        return model

    X = np.linspace(-1, 1, 40).reshape(-1, 2)
    fitted = KerasRegressor(build, random_state=0).fit(X, X[:, 0])
    assert fitted.model_.loss is None


def my_metric(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(y_pred)


def test_a_learning_rate_reaches_a_builder_with_a_metric_of_its_own(iris: Any) -> None:
    def build() -> keras.Model:
        model = builders.classifier()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=[my_metric])
        return model

    model = quick(build, optimizer__learning_rate=0.25).fit(*iris).model_
    assert float(np.asarray(model.optimizer.learning_rate)) == 0.25


def test_numpy_numbers_reach_the_builder_as_python_numbers(iris: Any) -> None:
    search = GridSearchCV(quick(), {"units": np.arange(2, 4)}, cv=2).fit(*iris)
    assert search.best_params_["units"] in (2, 3)


def test_weights_cannot_be_kept_where_there_are_none(iris: Any) -> None:
    with pytest.raises(InvalidParameter, match="pretrained=True keeps the weights of a prebuilt"):
        quick(pretrained=True).fit(*iris)
    with pytest.raises(InvalidModel, match="no weights yet"):
        quick(builders.classifier(), pretrained=True).fit(*iris)


def test_partial_fit_holds_to_the_classes_of_its_first_call(iris: Any) -> None:
    X, y = iris
    fitted = quick().partial_fit(X[:100], y[:100], classes=[0, 1, 2])
    assert fitted.classes_.tolist() == [0, 1, 2]
    fitted.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(InvalidParameter, match="not the same as in the first call"):
        fitted.partial_fit(X, y, classes=[0, 1, 2, 3])


def eleven_outputs() -> keras.Model:
    x = keras.Input((4,))
    heads = [keras.layers.Dense(2 + i, "softmax")(x) for i in range(11)]
    return keras.Model(x, heads)


def test_more_than_ten_outputs_keep_their_order_in_a_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y = np.column_stack([np.arange(60) % (2 + i) for i in range(11)])
    fitted = quick(eleven_outputs).fit(X, y)
    fitted.save(tmp_path / "file")
    loaded = amalthea.load(tmp_path / "file")
    assert [len(c) for c in loaded.classes_] == [2 + i for i in range(11)]
    assert np.array_equal(loaded.predict(X), fitted.predict(X))


def test_a_configuration_in_a_file_imports_no_module(iris: Any, tmp_path: Path) -> None:
    (tmp_path / "planted_module.py").write_text("raise SystemExit('imported')\n")
    quick().fit(*iris).save(tmp_path / "good")
    planted = {"module": "planted_module", "class_name": "Thing", "config": {}}
    with zipfile.ZipFile(tmp_path / "good") as good, zipfile.ZipFile(tmp_path / "bad", "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            if name == "estimator.json":
                page = json.loads(content)
                adam = {"module": "keras.optimizers", "class_name": "Adam"}
                page["given"]["optimizer"] = {"keras": adam | {"config": {"x": [planted]}}}
                content = json.dumps(page).encode()
            bad.writestr(name, content)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        loaded = amalthea.load(tmp_path / "bad")
    assert loaded.optimizer == "rmsprop"  # left out, since it cannot be read safely


def test_truth_values_of_numpy_are_flags(iris: Any) -> None:
    fitted = quick(shuffle=np.bool_(False), warm_start=np.bool_(True)).fit(*iris)
    assert fitted.fit(*iris).n_epochs_ == 2
