"""Optimizers, losses and metrics reach the model, whoever compiles it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import builders
from amalthea import KerasClassifier
from amalthea.errors import InvalidModel, InvalidParameter


def fitted(iris: Any, builder: Any = builders.classifier, **parameters: Any) -> Any:
    return KerasClassifier(builder, random_state=0, **parameters).fit(*iris).model_


def rate(model: keras.Model) -> float:
    return float(np.asarray(model.optimizer.learning_rate))


@pytest.mark.parametrize("builder", [builders.classifier, builders.compiled_classifier])
@pytest.mark.parametrize(
    "optimizer", ["sgd", keras.optimizers.SGD, keras.optimizers.SGD(0.5, momentum=0.1)]
)
def test_optimizers_are_written_in_any_way(iris: Any, builder: Any, optimizer: Any) -> None:
    model = fitted(
        iris, builder, optimizer=optimizer, optimizer__learning_rate=0.25, optimizer__momentum=0.5
    )
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert model.optimizer is not optimizer
    assert rate(model) == 0.25
    assert model.optimizer.momentum == 0.5


def test_a_learning_rate_reaches_the_optimizer_that_the_builder_compiled(iris: Any) -> None:
    def build() -> keras.Model:
        return builders.compiled_classifier(optimizer=keras.optimizers.Adam(beta_1=0.8))

    model = fitted(iris, build, optimizer__learning_rate=0.125)
    assert rate(model) == 0.125
    assert model.optimizer.beta_1 == 0.8


def test_an_instance_serves_any_number_of_fits(iris: Any) -> None:
    optimizer = keras.optimizers.Adam(0.01)
    callback = keras.callbacks.EarlyStopping(monitor="loss", patience=0, min_delta=100.0)
    estimator = KerasClassifier(
        builders.classifier, optimizer=optimizer, callbacks=[callback], epochs=5, random_state=0
    )
    histories = [estimator.fit(*iris).history_ for _ in range(2)]
    assert histories[0] == histories[1]
    assert estimator.n_epochs_ == 2
    assert not optimizer.built
    assert estimator.callbacks_[0] is not callback


def test_a_schedule_is_made_from_its_class_and_arguments(iris: Any) -> None:
    model = fitted(
        iris,
        optimizer="adam",
        optimizer__learning_rate=keras.optimizers.schedules.ExponentialDecay,
        optimizer__learning_rate__initial_learning_rate=0.1,
        optimizer__learning_rate__decay_steps=5,
        optimizer__learning_rate__decay_rate=0.5,
    )
    np.testing.assert_allclose(rate(model), 0.1 * 0.5 ** (5 / 5), rtol=1e-6)


@pytest.mark.parametrize("builder", [builders.classifier, builders.compiled_classifier])
def test_losses_take_arguments(iris: Any, builder: Any) -> None:
    model = fitted(iris, builder, loss="categorical_crossentropy", loss__label_smoothing=0.2)
    assert model.loss.get_config()["label_smoothing"] == 0.2


def test_a_loss_function_takes_arguments(iris: Any) -> None:
    def scaled(y_true: Any, y_pred: Any, factor: float = 1.0) -> Any:
        return factor * keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

    plain = KerasClassifier(builders.classifier, loss=scaled, random_state=0).fit(*iris)
    double = KerasClassifier(
        builders.classifier,
        loss=scaled,
        loss__factor=2.0,
        random_state=0,
        optimizer="sgd",
        optimizer__learning_rate=1e-9,
    ).fit(*iris)
    assert double.history_["loss"][0] > 1.5 * plain.history_["loss"][0]


def test_metrics_are_written_in_any_way_and_take_arguments(iris: Any) -> None:
    estimator = KerasClassifier(
        builders.classifier,
        metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy],
        metrics__1__k=2,
        metrics__1__name="top2",
        random_state=0,
    ).fit(*iris)
    assert {"loss", "accuracy", "top2"} <= estimator.history_.keys()
    assert estimator.set_params(metrics="accuracy").get_params()["metrics"] == "accuracy"


def test_metrics_replace_those_of_the_builder(iris: Any) -> None:
    estimator = KerasClassifier(
        builders.compiled_classifier, metrics=["sparse_categorical_crossentropy"], random_state=0
    ).fit(*iris)
    assert set(estimator.history_) == {"loss", "sparse_categorical_crossentropy"}


def test_a_builder_that_asks_gets_the_arguments_of_compile(iris: Any) -> None:
    def build(compile_kwargs: dict[str, Any]) -> keras.Model:
        model = builders.classifier()
        model.compile(**compile_kwargs)
        return model

    model = fitted(
        iris,
        build,
        optimizer="sgd",
        optimizer__learning_rate=0.5,
        loss="sparse_categorical_crossentropy",
    )
    assert isinstance(model.optimizer, keras.optimizers.SGD) and rate(model) == 0.5
    # Without a loss the arguments hold None, and the estimator chooses one afterwards.
    assert fitted(iris, build).loss == "sparse_categorical_crossentropy"


def test_arguments_of_compile_are_routed(iris: Any) -> None:
    estimator = KerasClassifier(
        builders.classifier, compile__weighted_metrics=["accuracy"], random_state=0
    ).fit(*iris)
    assert "accuracy" in estimator.history_


def test_a_prebuilt_model_is_cloned_anew_and_never_touched(iris: Any) -> None:
    model = builders.compiled_classifier()
    before = [np.array(value) for value in model.get_weights()]
    estimator = KerasClassifier(model, random_state=0, optimizer__learning_rate=0.01, epochs=2)
    first, second = estimator.fit(*iris).model_, estimator.fit(*iris).model_
    assert first is not model and first is not second
    for old, now in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(old, now)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        assert np.array_equal(one, other)
    assert not model.optimizer.built or int(model.optimizer.iterations.value) == 0


def test_a_pretrained_model_keeps_its_weights(iris: Any) -> None:
    model = builders.compiled_classifier()
    estimator = KerasClassifier(model, pretrained=True, epochs=0, random_state=0).fit(*iris)
    for old, now in zip(model.get_weights(), estimator.model_.get_weights(), strict=True):
        assert np.array_equal(old, now)


def test_a_model_with_a_training_step_of_its_own_needs_no_loss(iris: Any) -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(3, activation="softmax")

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def compute_loss(self, x: Any, y: Any, y_pred: Any, *others: Any, **named: Any) -> Any:
            return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred))

    assert fitted(iris, lambda: Own()).loss is None


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"optimizer": "adamm"}, "optimizer.*adamm"),
        ({"optimizer": "adam", "optimizer__lr": 0.1}, "optimizer__lr=0.1"),
        ({"loss": "crossentropy"}, "loss.*crossentropy"),
        ({"metrics": ["acuracy"]}, "acuracy"),
        ({"loss__from_logits": True}, "loss is None"),
        ({"metrics": ["accuracy"], "metrics__1__name": "x"}, "nowhere to go"),
        ({"optimizer__learning_rate__decay": 1}, "optimizer__learning_rate is not given"),
        ({"callbacks": ["EarlyStoping"]}, "no 'EarlyStoping'"),
        ({"callbacks": [3]}, "callbacks must hold"),
    ],
)
def test_what_cannot_be_made_is_named(iris: Any, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises((InvalidParameter, InvalidModel), match=words):
        fitted(iris, **parameters)
