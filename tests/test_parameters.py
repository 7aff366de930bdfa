"""The parameters of an estimator are its own and every one that its builder declares."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import keras
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import builders
from amalthea import GridSearchCV, KerasClassifier
from amalthea.errors import DuplicateParameter, InvalidParameter, UnknownParameter
from amalthea.estimators.settings import read_settings


def settings_of(estimator: Any, **overrides: Any) -> Any:
    return read_settings(estimator, overrides)


def create_model(units: int = 10, activation: str = "relu") -> keras.Model:
    return builders.classifier(units, activation)


def shared(optimizer: str = "adam", epochs: int = 50, loss: str = "mse") -> keras.Model:
    raise NotImplementedError


def anything(**kwargs: Any) -> keras.Model:
    return builders.classifier(**kwargs)


def needs(units: int) -> keras.Model:
    return builders.classifier(units)


class Maker:
    def __call__(self, depth: int = 2) -> keras.Model:
        return builders.classifier()

    def build(self, width: int = 3) -> keras.Model:
        return builders.classifier(width)


class Ready(KerasClassifier):
    """A subclass with a builder of its own."""

    def build_model(self, units: int = 4, meta: Any = None) -> keras.Model:
        return builders.classifier(units)


class Narrow(KerasClassifier):
    """A subclass with a constructor of its own."""

    def __init__(self, units: int = 4, epochs: int = 7, random_state: Any = None) -> None:
        super().__init__(epochs=epochs, random_state=random_state)
        self.units = units

    def build_model(self, units: int = 3) -> keras.Model:
        return builders.classifier(units)


def test_the_builders_parameters_are_the_estimators_without_naming_them() -> None:
    estimator = KerasClassifier(create_model)
    assert estimator.get_params()["units"] == 10
    assert estimator.activation == "relu"
    estimator.set_params(units=5)
    assert estimator.units == 5
    assert clone(estimator).units == 5


@pytest.mark.parametrize(
    ("builder", "name", "default"),
    [
        (create_model, "units", 10),
        (functools.partial(create_model, units=3), "units", 3),
        (Maker(), "depth", 2),
        (Maker().build, "width", 3),
        (lambda units=6: builders.classifier(units), "units", 6),
    ],
    ids=["function", "partial", "callable object", "bound method", "lambda"],
)
def test_every_kind_of_builder_declares_its_parameters(
    builder: Any, name: str, default: Any
) -> None:
    estimator = KerasClassifier(builder)
    assert estimator.get_params()[name] == default
    assert settings_of(clone(estimator).set_params(**{name: 8})).routes.model == {name: 8}


def test_a_subclass_builds_by_its_own_method() -> None:
    estimator = Ready(epochs=3)
    assert estimator.get_params()["units"] == 4
    assert "meta" not in estimator.get_params()
    assert settings_of(clone(estimator).set_params(units=2)).routes.model == {"units": 2}


def test_a_subclass_may_have_a_constructor_of_its_own() -> None:
    estimator = clone(Narrow(units=5))
    assert estimator.get_params() == {"units": 5, "epochs": 7, "random_state": None}
    assert settings_of(estimator).epochs == 7
    assert settings_of(estimator).routes.model == {"units": 5}


def test_a_shared_name_is_one_parameter_and_the_builders_default_wins() -> None:
    settings = settings_of(KerasClassifier(shared))
    assert (settings.values["optimizer"], settings.epochs) == ("adam", 50)
    assert settings.routes.model == {}


@pytest.mark.parametrize("value", [1, 20])  # 1 is the estimator's own default
def test_a_shared_name_that_is_given_goes_to_both(value: int) -> None:
    for estimator in (KerasClassifier(shared, epochs=value), KerasClassifier(shared)):
        settings = settings_of(clone(estimator.set_params(epochs=value)))
        assert settings.epochs == value
        assert settings.routes.model == {"epochs": value}


def test_a_change_of_model_changes_the_defaults_with_it() -> None:
    estimator = clone(KerasClassifier(create_model, random_state=0)).set_params(model=Maker())
    assert "units" not in estimator.get_params()
    assert estimator.get_params()["depth"] == 2
    settings_of(estimator)  # nothing of the old builder is left to be unknown


def test_values_given_stay_whatever_the_model_is() -> None:
    estimator = KerasClassifier(create_model, units=5)
    estimator.set_params(model=None, units=float("inf"))
    assert estimator.get_params()["units"] == float("inf")


def test_model_units_is_units() -> None:
    assert settings_of(KerasClassifier(create_model, model__units=5)).routes.model == {"units": 5}


def test_a_builder_with_kwargs_takes_any_name_but_the_estimators() -> None:
    settings = settings_of(KerasClassifier(anything, units=5, whatever=1, epochs=3))
    assert settings.routes.model == {"units": 5, "whatever": 1}
    assert settings.epochs == 3


def test_an_unknown_name_is_told_in_fit_with_the_nearest_one() -> None:
    estimator = KerasClassifier(create_model, unitz=5)
    with pytest.raises(
        UnknownParameter, match=r"'unitz'. Did you mean 'units'\?.*activation, units"
    ):
        estimator.fit([[0.0]], [0])


@pytest.mark.parametrize(
    ("parameters", "nearest"),
    [
        ({"fit__epoch": 1}, "fit__epochs"),
        ({"predict__batchsize": 1}, "predict__batch_size"),
        ({"model__unit": 1}, "units"),
        ({"compile__lossweights": 1}, "compile__loss_weights"),
    ],
)
def test_an_unknown_routed_name_is_told_with_the_nearest_one(
    parameters: dict[str, Any], nearest: str
) -> None:
    with pytest.raises(UnknownParameter, match=f"mean '{nearest}'"):
        settings_of(KerasClassifier(create_model, **parameters))


@pytest.mark.parametrize(
    "parameters",
    [
        {"units": 5, "model__units": 5},
        {"epochs": 5, "fit__epochs": 6},
        {"optimizer": "sgd", "compile__optimizer": "adam"},
    ],
)
def test_one_destination_given_twice_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(DuplicateParameter, match="given twice"):
        settings_of(KerasClassifier(create_model, **parameters))


def test_the_builder_given_twice_is_refused() -> None:
    with pytest.raises(DuplicateParameter, match="model= and as build_fn="):
        settings_of(KerasClassifier(create_model, build_fn=create_model))


def test_a_required_parameter_that_is_missing_is_named() -> None:
    assert KerasClassifier(needs).get_params()["units"] is None
    with pytest.raises(InvalidParameter, match="needs needs a value for units"):
        settings_of(KerasClassifier(needs))
    assert settings_of(KerasClassifier(needs, units=3)).routes.model == {"units": 3}


def test_fit_arguments_override_for_one_call() -> None:
    estimator = KerasClassifier(create_model, epochs=3, fit__batch_size=5)
    assert settings_of(estimator, epochs=9).epochs == 9
    assert settings_of(estimator).epochs == 3
    assert settings_of(estimator).batch_size(100) == 5
    with pytest.raises(TypeError, match="unexpected argument 'epoch'"):
        settings_of(estimator, epoch=9)


@pytest.mark.parametrize(("value", "rows"), [(None, 32), (-1, 90), ("all", 90), (7, 7)])
def test_batch_sizes(value: Any, rows: int) -> None:
    assert settings_of(KerasClassifier(create_model, batch_size=value)).batch_size(90) == rows


def test_repr_shows_what_the_user_set() -> None:
    shown = repr(clone(KerasClassifier(create_model, units=3, epochs=7)))
    assert "units=3" in shown and "epochs=7" in shown and "create_model" in shown
    assert "activation" not in shown and "optimizer" not in shown
    inside = repr(make_pipeline(StandardScaler(), KerasClassifier(create_model, units=3)))
    assert "units=3" in inside and "activation" not in inside
    search = repr(GridSearchCV(KerasClassifier(create_model, units=2), {"units": [4, 8]}))
    assert search.startswith("GridSearchCV(estimator=KerasClassifier(")


def test_the_html_repr_highlights_what_the_user_set_and_nothing_else() -> None:
    estimator = KerasClassifier(create_model, units=3)
    html = estimator._repr_html_()
    assert "create_model" in html and "units" in html
    if hasattr(BaseEstimator, "_get_params_html"):  # scikit-learn 1.7 and newer has a table
        assert set(estimator._get_params_html().non_default) == {"model", "units"}
    else:
        assert "activation" not in html


def test_attributes_can_be_set_as_parameters() -> None:
    estimator = KerasClassifier(create_model)
    estimator.units = 30
    estimator.epochs = 4
    assert estimator.get_params()["units"] == 30
    assert clone(estimator).epochs == 4


def test_an_unfitted_estimator_can_be_pickled_and_an_unknown_attribute_is_an_error() -> None:
    estimator = pickle.loads(pickle.dumps(KerasClassifier(create_model, units=3)))
    assert estimator.units == 3
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        estimator.nothing  # noqa: B018


def test_clones_share_a_prebuilt_model_because_it_is_never_touched() -> None:
    class Unregistered(keras.layers.Dense):
        pass

    model = keras.Sequential([keras.Input((4,)), Unregistered(3, "softmax")])
    assert clone(KerasClassifier(model)).model is model


def test_parameters_that_were_got_can_be_given_back_without_a_change() -> None:
    estimator = KerasClassifier(build_fn=create_model, units=3)
    for deep in (True, False):
        params = estimator.get_params(deep=deep)
        for again in (KerasClassifier(**params), clone(estimator).set_params(**params)):
            assert settings_of(again).routes.own == settings_of(estimator).routes.own
            assert again.get_params() == estimator.get_params()
