"""What classifier and regressor share: fit, partial_fit, predict, pickling."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Self

import keras
import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import arguments
from ..engine import trainer
from ..engine.requests import FitRequest, FitResult, PredictRequest
from ..engine.rows import Arrays, Rows, map_arrays
from ..engine.seeding import Generators, resumed, seeded
from ..errors import InvalidData, InvalidParameter
from ..randomness import draw_seed
from ..routing import below
from .construction import Construction, Target
from .features import read_features
from .fit_callbacks import fit_callbacks, predict_callbacks
from .held_models import HeldModel, OwnModel, hold_model
from .histories import best_epoch, extended
from .holdout import hold_out
from .model_inputs import input_shapes, inputs_for
from .parameters import BuilderParameters
from .samples import Samples
from .saving import save
from .settings import Settings, read_settings
from .snapshots import Snapshot
from .weights import read_weights


class KerasEstimator(BuilderParameters):
    """A Keras model as an estimator. Subclasses say what the target is."""

    seed_: int
    _held: HeldModel

    def _read_target(self, y: Any) -> np.ndarray:
        """y as an array, checked."""
        raise NotImplementedError

    def _make_target(self, y: np.ndarray, classes: Any) -> Target:
        raise NotImplementedError

    def _strata(self, y: np.ndarray) -> np.ndarray | None:
        """What a validation part is stratified by."""
        return None

    def _weights_for_training(
        self, settings: Settings, weights: np.ndarray | None, y: np.ndarray
    ) -> np.ndarray | None:
        return weights

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: Any = None,
        **fit_params: Any,
    ) -> Self:
        """Build a model and train it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            An array of any rank, a pandas or polars data frame, a SciPy sparse matrix, a list,
            or several inputs: an :class:`amalthea.Inputs`, a dict or a tuple of arrays.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels for a classifier, numbers for a regressor.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows in the loss. The array is not modified.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            Rows to evaluate after each epoch; y is encoded as the training target is.
        **fit_params
            Arguments for this call alone, such as ``epochs=20`` or ``callbacks=[...]``.

        Returns
        -------
        self

        Raises
        ------
        InvalidParameter, UnknownParameter, DuplicateParameter
            For parameters that cannot work.
        InvalidModel, InvalidModelType, TargetMismatch, BuildError
            For a model that cannot be trained on this y.
        InvalidData, ValueError
            For X, y or weights that cannot be used.
        """
        continuing = self._is_fitted and arguments.flag("warm_start", self.warm_start)
        return self._train(X, y, sample_weight, validation_data, fit_params, continuing)

    def _train(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: Any,
        overrides: dict[str, Any],
        continuing: bool,
        classes: Any = None,
    ) -> Self:
        before = dict(self.__dict__)
        try:
            settings = read_settings(self, overrides)
            samples = self._samples(X, y, sample_weight, reset=not continuing)
            self._train_on(settings, samples, validation_data, continuing, classes)
        except BaseException:  # what was learned before stays, and nothing half-learned does
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def _train_on(
        self,
        settings: Settings,
        samples: Samples,
        validation_data: Any,
        continuing: bool,
        classes: Any,
    ) -> None:
        generators: Generators | None
        if continuing:
            with seeded(self.seed_):
                self._held.model()  # from here on, what was learned is in the model
                generators = Generators.now()
        else:
            self.seed_ = draw_seed(settings.values["random_state"])
            self._begin(settings, samples, self._make_target(samples.y, classes))
            generators = self._held.made.generators
        training, validation = self._parts(settings, samples, validation_data)
        callbacks: list[keras.callbacks.Callback] = []
        if settings.has_callbacks:  # what they draw when they are made comes after the builder's
            with resumed(generators):
                callbacks = fit_callbacks(settings, validation is not None)
                generators = Generators.now()
        request = self._request(settings, training, validation, callbacks, generators)
        if not (request.keeps_model and trainer.can_keep_model(request)):
            request = replace(request, model=self.model_, keeps_model=False, likeness=None)
        self._finish(settings, callbacks, trainer.fit(request))

    def _samples(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> Samples:
        labels = self._read_target(y)  # before X: a missing y is told first
        x = read_features(self, X, reset=reset)
        return Samples(x, labels, read_weights(sample_weight, len(labels)))

    def _begin(self, settings: Settings, samples: Samples, target: Target) -> None:
        """Make, build and compile a new model, and settle how the target is encoded."""
        template = map_arrays(_no_rows, samples.x)
        family = self.__dict__.get("_family")
        policy = keras.config.dtype_policy()
        construction = Construction(settings, template, target, len(samples), policy, family)
        self._held = hold_model(construction, self.seed_, shared=trainer.shares_models())
        construction.settle(self._held.made)
        self._construction = construction
        self._input_shapes = input_shapes(self._held.like)
        self.n_epochs_ = 0
        self.history_: dict[str, list[Any]] = {}
        self._epochs_of: dict[str, list[int]] = {}
        self.__dict__.pop("validation_rows_", None)
        self._learn(target)

    def _learn(self, target: Any) -> None:
        """Set what fitting tells of the target, under scikit-learn's names."""
        self.target_type_ = target.kind
        self.n_outputs_ = target.n_outputs

    def _parts(
        self, settings: Settings, samples: Samples, validation_data: Any
    ) -> tuple[Rows, Rows | None]:
        """The rows to train on, and those to validate on."""
        if validation_data is not None:
            validation = self._validation_rows(validation_data)
        elif settings.validation_share:
            train, held = hold_out(
                len(samples), settings.validation_share, self.seed_, self._strata(samples.y)
            )
            self.validation_rows_ = held
            validation, samples = self._rows(samples.take(held)), samples.take(train)
        else:
            validation = None
        weights = self._weights_for_training(settings, samples.weights, samples.y)
        return self._rows(replace(samples, weights=weights)), validation

    def _validation_rows(self, validation_data: Any) -> Rows:
        if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
            raise InvalidData(
                "validation_data must be (X, y) or (X, y, sample_weight); got "
                f"{type(validation_data).__name__}."
            )
        X, y, *weights = validation_data
        try:
            return self._rows(self._samples(X, y, weights[0] if weights else None, reset=False))
        except (TypeError, ValueError) as error:
            raise InvalidData(f"validation_data: {error}") from error

    def _rows(self, samples: Samples) -> Rows:
        encoded, weights = self._target.encode(samples.y), samples.weights
        if weights is not None:  # Keras weighs each output of several by the same weights
            weights = map_arrays(lambda _: samples.weights, encoded)
        return Rows(inputs_for(self._held.like, samples.x), encoded, weights)

    def _request(
        self,
        settings: Settings,
        training: Rows,
        validation: Rows | None,
        callbacks: list[keras.callbacks.Callback],
        generators: Generators | None,
    ) -> FitRequest:
        n_validation = len(validation) if validation else 1
        return FitRequest(
            model=self._held.like,
            keeps_model=self._held.shared,
            likeness=self._held.likeness,
            training=training,
            seed=self.seed_,
            epochs=self.n_epochs_ + settings.epochs,
            initial_epoch=self.n_epochs_,
            batch_size=settings.batch_size(len(training)),
            shuffle=settings.shuffle,
            callbacks=callbacks,
            validation=validation,
            validation_batch_size=settings.validation_batch_size(n_validation),
            validation_freq=settings.values.get("validation_freq", 1),
            verbose=settings.values["verbose"],
            generators=generators,
        )

    def _finish(
        self, settings: Settings, callbacks: list[keras.callbacks.Callback], result: FitResult
    ) -> None:
        every = settings.values.get("validation_freq", 1)
        self.history_, self._epochs_of = extended(self.history_, self._epochs_of, result, every)
        self.n_epochs_ += len(result.epochs)
        self.callbacks_ = callbacks
        if result.state is not None:
            self._held.learn(result)
        self.form_, self.form_reason_ = result.form, result.reason

    def _outputs(self, X: Any) -> Arrays:
        """The model's raw outputs for X."""
        self._check_is_fitted()
        x = read_features(self, X, reset=False)
        asked = below("predict", self._given)
        size = asked.get("batch_size", self.batch_size)
        request = PredictRequest(
            model=self._held.like,
            weights=self._held.weights,
            likeness=self._held.likeness,
            x=inputs_for(self._held.like, x),
            # All rows in one batch have no fixed shape: then predict goes by Keras's own 32.
            batch_size=arguments.batch_size("predict__batch_size", size, 32),
            callbacks=predict_callbacks(asked),
            verbose=asked.get("verbose", self.verbose),
        )
        if request.weights is not None and not trainer.can_keep_model(request):
            request = replace(request, model=self.model_, weights=None, likeness=None)
        return trainer.predict(request)

    def predict(self, X: Any) -> np.ndarray:
        """Predict the target of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            As in ``fit``.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the form of the y of ``fit``: labels for a classifier, numbers of y's float type
            for a regressor. A row's prediction depends on no other row.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            When X has other features than in ``fit``.
        """
        return self._learned_target().decide(self._outputs(X))

    @property
    def model_(self) -> keras.Model:
        """The trained model."""
        if not self._is_fitted:
            raise AttributeError(f"{type(self).__name__} has no model_ before fit.")
        return self._held.model()

    @property
    def _is_fitted(self) -> bool:
        return "_held" in self.__dict__

    def _check_is_fitted(self) -> None:
        check_is_fitted(self, "_held")

    @property
    def _target(self) -> Any:
        return self._construction.target

    def _learned_target(self) -> Any:
        self._check_is_fitted()
        return self._target

    @property
    def best_epoch_(self) -> int:
        """The epoch of the smallest validation loss (training loss without validation), from 0."""
        self._check_is_fitted()
        best = best_epoch(self.history_, self._epochs_of)
        if best is None:
            raise AttributeError("best_epoch_ needs at least one epoch with a finite loss.")
        return best

    def save(self, path: Any) -> None:
        """Write the fitted estimator to a file that :func:`amalthea.load` reads.

        Parameters
        ----------
        path : str or path-like
            The file to write. It appears complete or not at all.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        self._check_is_fitted()
        save(self, path)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("callbacks_", None)  # they may hold anything; histories are kept
        if "_held" in state:
            if self._construction.settings is None:
                raise InvalidParameter(
                    "This estimator was loaded without its builder, and copies need it. Load it "
                    "with custom_objects={'name_of_builder': builder}, or use save()."
                )
            state["_held"] = Snapshot.of(self.model_)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        snapshot = state.get("_held")
        if isinstance(snapshot, Snapshot):
            with seeded(self.seed_), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the builder gave its warnings in fit
                self._held = OwnModel(self._construction.make())
                self._construction.settle(self._held.made)
            snapshot.restore(self.model_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def _no_rows(array: Any) -> np.ndarray:
    return np.empty((0, *array.shape[1:]), dtype=array.dtype)
