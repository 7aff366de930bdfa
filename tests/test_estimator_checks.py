"""scikit-learn's own judge of estimators."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import builders
from amalthea import KerasClassifier, KerasRegressor

# Rows weighted 0, 1, 2, ... are in exact arithmetic the same as rows left out, kept, repeated. The
# check wants that to 1e-7, and training is in float32, where sums of another length round
# differently: the two agree to about 1e-4 after these epochs. See the test at the end.
WEIGHTS_IN_FLOAT32 = {
    f"check_sample_weight_equivalence_on_{kind}_data": "equal to float32's precision, not to 1e-7"
    for kind in ("dense", "sparse")
}


class Named:
    """A builder whose repr, and so the name of a check, is the same in every process."""

    def __init__(self, builder: Any) -> None:
        self.__wrapped__ = builder  # what inspect.signature looks at

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    def __repr__(self) -> str:
        return self.__wrapped__.__name__


CLASSIFIER = KerasClassifier(
    Named(builders.for_any_classes),
    hidden=32,
    epochs=20,
    optimizer="adam",
    optimizer__learning_rate=0.02,
    random_state=0,
)
REGRESSOR = KerasRegressor(
    Named(builders.for_any_values),
    epochs=30,
    optimizer="adam",
    optimizer__learning_rate=0.02,
    random_state=0,
)


@pytest.mark.filterwarnings("default")  # the checks provoke warnings of their own
@parametrize_with_checks(
    [CLASSIFIER, REGRESSOR], expected_failed_checks=lambda estimator: WEIGHTS_IN_FLOAT32
)
def test_scikit_learn_accepts_the_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", [CLASSIFIER, REGRESSOR], ids=["classifier", "regressor"])
def test_weights_are_repetitions_to_the_precision_of_float32(estimator: Any) -> None:
    import numpy as np
    from sklearn.base import clone

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(15, 5)), rng.integers(0, 3, size=15)
    weights = rng.integers(0, 4, size=15)
    weighted = clone(estimator).set_params(epochs=5, batch_size="all", classes=[0, 1, 2])
    if "class_weight" not in estimator.get_params():
        weighted = clone(estimator).set_params(epochs=5, batch_size="all")
    repeated = clone(weighted)
    # The loss is a mean over the rows of the batch, so the weights have to have the mean 1.
    weighted.fit(X, y, sample_weight=weights * (len(y) / weights.sum()))
    repeated.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights, axis=0))
    np.testing.assert_allclose(_values(weighted, X), _values(repeated, X), rtol=1e-4, atol=1e-5)


def _values(estimator: Any, X: Any) -> Any:
    return getattr(estimator, "predict_proba", estimator.predict)(X)
