"""KerasRegressor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from ..errors import InvalidParameter
from .base import KerasEstimator
from .settings import Settings
from .value_targets import ValueTarget, read_values


class KerasRegressor(RegressorMixin, KerasEstimator):
    """A Keras model as a scikit-learn regressor.

    The parameters are those of :class:`amalthea.KerasClassifier`, without ``class_weight`` and
    ``classes``, and mean the same. ``loss=None`` is the mean squared error. ``predict`` gives
    values in the shape and the float type of the y of ``fit``; ``score`` is R2 (greater is better).

    Parameters
    ----------
    model : callable or keras.Model, default=None
    build_fn : callable or keras.Model, default=None
    pretrained : bool, default=False
    optimizer : str, class or keras.optimizers.Optimizer, default="rmsprop"
    loss : str, class, callable, keras.losses.Loss, list or dict, default=None
    metrics : list or dict, default=None
    epochs : int, default=1
    batch_size : int, default=None
    validation_split : float, default=0.0
    validation_batch_size : int, default=None
    early_stopping : bool, default=False
    validation_fraction : float or None, default=0.1
    patience : int, default=10
    restore_best_weights : bool, default=True
    callbacks : callback class, instance, list or dict of them, default=None
    shuffle : bool, default=True
    verbose : int, default=0
    random_state : int, RandomState or None, default=None
    warm_start : bool, default=False
    **builder_parameters

    Attributes
    ----------
    model_ : keras.Model
    n_outputs_ : int
    target_type_ : str
        ``"continuous"`` or ``"continuous-multioutput"``.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
    history_ : dict of str to list of float
    n_epochs_, best_epoch_, seed_ : int
    validation_rows_ : ndarray of int
    callbacks_ : list of keras.callbacks.Callback
    form_ : str
    form_reason_ : str or None

    Examples
    --------
    >>> import keras
    >>> from sklearn.datasets import load_diabetes
    >>> from amalthea import KerasRegressor
    >>> def create_model(units=32):
    ...     return keras.Sequential([keras.layers.Dense(units, "relu"), keras.layers.Dense(1)])
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = KerasRegressor(create_model, optimizer="adam", epochs=2, random_state=0)
    >>> reg.fit(X, y).predict(X[:3]).shape
    (3,)
    """

    def __init__(
        self,
        model: Any = None,
        *,
        build_fn: Any = None,
        pretrained: bool = False,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        epochs: int = 1,
        batch_size: Any = None,
        validation_split: float = 0.0,
        validation_batch_size: Any = None,
        early_stopping: bool = False,
        validation_fraction: float | None = 0.1,
        patience: int = 10,
        restore_best_weights: bool = True,
        callbacks: Any = None,
        shuffle: bool = True,
        verbose: Any = 0,
        random_state: Any = None,
        warm_start: bool = False,
        **builder_parameters: Any,
    ) -> None:
        given = {n: v for n, v in locals().items() if n not in ("self", "__class__")}
        of_builder = given.pop("builder_parameters")
        self._keep({**given, **of_builder})

    def _read_target(self, y: Any) -> np.ndarray:
        return read_values(y)

    def _make_target(self, y: np.ndarray, classes: Any) -> ValueTarget:
        return ValueTarget(y)

    def _weights_for_training(
        self, settings: Settings, weights: np.ndarray | None, y: np.ndarray
    ) -> np.ndarray | None:
        if settings.values.get("class_weight") is not None:
            raise InvalidParameter("class_weight is for classifiers; a regressor has no classes.")
        return weights

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch, going on from where the model is.

        Parameters
        ----------
        X, y, sample_weight
            As in ``fit``.

        Returns
        -------
        self
        """
        continuing = self._is_fitted
        return self._train(X, y, sample_weight, None, {"epochs": 1}, continuing)
