"""KerasClassifier."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score

from ..errors import InvalidParameter
from .base import KerasEstimator
from .class_targets import ClassTarget, are_plain_labels, read_classes
from .settings import Settings
from .weights import with_class_weights


class KerasClassifier(ClassifierMixin, KerasEstimator):
    """A Keras model as a scikit-learn classifier.

    Parameters
    ----------
    model : callable or keras.Model, default=None
        A function, ``functools.partial``, method or callable object that returns a Keras model,
        compiled or not. Every parameter that it declares is a parameter of the estimator, and
        can be given here, in ``set_params`` or in a grid. A builder that declares ``meta`` gets a
        dict with ``n_features_in_``, ``n_classes_``, ``n_outputs_``, ``target_type_``, ``X_shape_``
        and more; one that declares ``compile_kwargs`` gets the arguments of ``compile``. A prebuilt
        model is cloned, with new initial weights, for every fit, and never touched. A subclass
        may define ``build_model(self, ...)`` instead.
    build_fn : callable or keras.Model, default=None
        The old name of ``model``.
    pretrained : bool, default=False
        Keep the weights of a prebuilt model.
    optimizer : str, class or keras.optimizers.Optimizer, default="rmsprop"
        Used when the builder does not compile; when it does, a given value replaces its own.
        Set its arguments with ``optimizer__learning_rate`` and the like.
    loss : str, class, callable, keras.losses.Loss, list or dict, default=None
        ``None`` chooses the loss from the target and the output, where there is one reading.
    metrics : list or dict of str, class, callable or keras.metrics.Metric, default=None
    epochs : int, default=1
        Passes over the training rows.
    batch_size : int, default=None
        Rows of a batch. ``None`` is 32; -1 or ``"all"`` is every row in one batch.
    validation_split : float, default=0.0
        Share of the rows to keep back and evaluate after each epoch: shuffled by
        ``random_state``, and stratified by class.
    validation_batch_size : int, default=None
        As ``batch_size``, for validation.
    early_stopping : bool, default=False
        Stop when the validation loss has not improved for ``patience`` epochs.
    validation_fraction : float or None, default=0.1
        Share of the rows to keep back for early stopping when there is no other validation data.
        ``None`` keeps back none and watches the training loss.
    patience : int, default=10
        Epochs without improvement before early stopping.
    restore_best_weights : bool, default=True
        After early stopping, go back to the weights of the best epoch.
    callbacks : callback class, instance, list or dict of them, default=None
        Each fit uses fresh copies. Set their arguments with ``callbacks__0__patience``.
    class_weight : dict, list of dict, "balanced" or None, default=None
        Weights by class, as the labels of y are written.
    classes : array-like, default=None
        All classes there are (for several outputs a list of them, one for each column of y).
        Needed only where y may lack some and the labels are not the numbers of the model's units.
    shuffle : bool, default=True
        Take the rows of each epoch in the order of :func:`amalthea.batch_order`; else as they are.
    verbose : int, default=0
        As in ``keras.Model.fit``.
    random_state : int, RandomState or None, default=None
        The seed of the builder and of the order of the rows. With an int a fit gives the same
        weights in any process.
    warm_start : bool, default=False
        Go on training the fitted model when ``fit`` is called again.
    **builder_parameters
        Parameters of the builder (``units=10``, also ``model__units=10``), and routed ones, with
        the prefixes ``optimizer__``, ``loss__``, ``metrics__``, ``callbacks__``, ``compile__``,
        ``fit__`` and ``predict__``. Names are checked in ``fit``.

    Attributes
    ----------
    model_ : keras.Model
        The trained model.
    classes_ : ndarray of shape (n_classes,), or list of them for several outputs
    n_classes_, n_outputs_ : int
    target_type_ : str
        scikit-learn's kind of the target, or ``"multiclass-onehot"``.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where X has named columns.
    history_ : dict of str to list of float
        One value for each epoch.
    n_epochs_ : int
        Epochs trained.
    best_epoch_ : int
        The epoch with the smallest (validation) loss.
    seed_ : int
        The seed that was used: ``random_state``, or what was drawn.
    validation_rows_ : ndarray of int
        Rows that were kept back, where some were.
    callbacks_ : list of keras.callbacks.Callback
        The copies that the last fit used.
    form_ : str
        How the last fit was trained: ``"stacked"`` with others in one loop on the device,
        ``"loop"`` alone in one, in compiled ``"steps"``, or by Keras's own ``fit``, ``"keras"``.
    form_reason_ : str or None
        Why it needed Keras's own ``fit``.

    Examples
    --------
    >>> import keras
    >>> from sklearn.datasets import load_iris
    >>> from amalthea import KerasClassifier
    >>> def create_model(units=10, activation="relu"):
    ...     return keras.Sequential(
    ...         [keras.layers.Dense(units, activation), keras.layers.Dense(3, "softmax")]
    ...     )
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = KerasClassifier(create_model, units=16, optimizer="adam", epochs=5, random_state=0)
    >>> clf.fit(X, y).predict_proba(X[:2]).shape
    (2, 3)
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
        class_weight: Any = None,
        classes: Any = None,
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
        return read_classes(y)

    def _make_target(self, y: np.ndarray, classes: Any) -> ClassTarget:
        return ClassTarget(y, self.classes if classes is None else classes)

    def _strata(self, y: np.ndarray) -> np.ndarray | None:
        if self._target.kind == "multiclass-onehot":
            return y.argmax(axis=1)
        return y if y.ndim == 1 else None

    def _weights_for_training(
        self, settings: Settings, weights: np.ndarray | None, y: np.ndarray
    ) -> np.ndarray | None:
        labels = y.argmax(axis=1) if self._target.kind == "multiclass-onehot" else y
        class_weight = settings.values["class_weight"]
        return with_class_weights(weights, class_weight, labels, self._target.classes)

    def _learn(self, target: Any) -> None:
        super()._learn(target)
        self.classes_ = target.classes
        self.n_classes_ = target.n_classes

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch, going on from where the model is.

        Parameters
        ----------
        X, y, sample_weight
            As in ``fit``.
        classes : array-like, default=None
            All classes there are; looked at in the first call alone, where y may lack some.

        Returns
        -------
        self
        """
        continuing = self._is_fitted
        if continuing and classes is not None and self.n_outputs_ == 1:
            if not np.array_equal(np.unique(classes), self.classes_):
                raise InvalidParameter(
                    f"classes={np.asarray(classes).tolist()} is not the same as in the first call "
                    f"of partial_fit: {self.classes_.tolist()}."
                )
        return self._train(X, y, sample_weight, None, {"epochs": 1}, continuing, classes)

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``. For several outputs a list of such arrays; for a
            multilabel target the probability of each label.
        """
        return self._learned_target().probabilities(self._outputs(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy on X and y; a row of several outputs counts when all are right.

        Parameters
        ----------
        X : array-like
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        float
            From 0 to 1; greater is better.
        """
        self._check_is_fitted()
        if self._target.kind == "multiclass-multioutput":  # scikit-learn has no such accuracy
            right = (np.asarray(y) == self.predict(X)).all(axis=1)
            return float(np.average(right, weights=sample_weight))
        predicted = self.predict(X)
        if sample_weight is None and are_plain_labels(y) and are_plain_labels(predicted):
            if y.dtype == predicted.dtype and len(y) == len(predicted):
                return float(np.average(y == predicted))  # what it gives, without its checks
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
