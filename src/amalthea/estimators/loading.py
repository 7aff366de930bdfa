"""Reading what ``save`` wrote, without running what is in it."""

from __future__ import annotations

import inspect
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import keras
import numpy as np

from ..engine.rows import map_arrays
from ..errors import InvalidData, InvalidModel, InvalidParameter
from .base import KerasEstimator
from .building import build_for
from .class_targets import ClassTarget
from .classifier import KerasClassifier
from .compiling import head_losses
from .construction import Construction, Made
from .held_models import OwnModel
from .model_inputs import input_shapes
from .regressor import KerasRegressor
from .saving import FORMAT
from .settings import read_settings
from .value_targets import ValueTarget

_KINDS = {"KerasClassifier": KerasClassifier, "KerasRegressor": KerasRegressor}


def load(
    path: Any, *, custom_objects: Mapping[str, Any] | None = None, safe_mode: bool = True
) -> Any:
    """Read an estimator that ``save`` wrote.

    Parameters
    ----------
    path : str or path-like
    custom_objects : dict, optional
        Functions and classes by name: the builder, custom layers, losses and metrics, or the
        estimator's own class. Beside these only Keras's own classes are found.
    safe_mode : bool, default=True
        Run no code from the file, and call nothing that the file only names. With False, lambda
        layers are loaded, and functions and classes are imported by the names that the file has
        for them: only for files that you trust.

    Returns
    -------
    KerasClassifier or KerasRegressor
        Fitted. Without its builder among ``custom_objects`` it predicts, but cannot be
        copied or pickled, and needs ``model=`` to be fitted again.

    Raises
    ------
    InvalidData
        When the file is not one of Amalthea's.
    InvalidModel
        When the model holds code, or objects that are not in ``custom_objects``.
    """
    references = _References(dict(custom_objects or {}), safe_mode)
    try:
        archive = zipfile.ZipFile(path)
        page = json.loads(archive.read("estimator.json"))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidData(f"{path} is no estimator saved by Amalthea: {error}") from error
    with archive:
        if page.get("format") != FORMAT:
            raise InvalidData(f"{path} has the format {page.get('format')!r}, not {FORMAT}.")
        estimator = references.kind(page["kind"])()
        page["learned"] = references.parameters(page["learned"])
        estimator.set_params(**references.parameters(page["given"]))
        model = _read_model(archive, references)
        _restore(estimator, page, model, _read_arrays(archive))
    return estimator


class _References:
    """Finds functions and classes by the names that a file has for them."""

    def __init__(self, custom_objects: dict[str, Any], safe_mode: bool) -> None:
        self.custom_objects = custom_objects
        self.safe_mode = safe_mode

    def kind(self, name: str) -> type[KerasEstimator]:
        found = self.custom_objects.get(name, _KINDS.get(name))
        if found is None:
            raise InvalidParameter(
                f"The file holds a {name}: give custom_objects={{{name!r}: {name}}}."
            )
        return found

    def parameters(self, encoded: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that can be read; one with a reference that is not found is left out."""
        found = {}
        for name, value in encoded.items():
            try:
                found[name] = self._decoded(value)
            except LookupError:
                continue
        return found

    def _decoded(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._decoded(member) for member in value]
        if not isinstance(value, dict):
            return value
        if "reference" in value:
            return self._find(*value["reference"])
        if "keras" in value:
            self._check_modules(value["keras"])
            return keras.saving.deserialize_keras_object(
                value["keras"], custom_objects=self.custom_objects, safe_mode=self.safe_mode
            )
        if "tuple" in value:
            return tuple(self._decoded(member) for member in value["tuple"])
        return {self._decoded(key): self._decoded(member) for key, member in value["dict"]}

    def _check_modules(self, config: Any) -> None:
        """Keras imports the modules that a configuration names; let it import only its own."""
        members = config.values() if isinstance(config, dict) else config
        for member in members if isinstance(config, dict | list) else ():
            self._check_modules(member)
        if self.safe_mode and isinstance(config, dict) and "class_name" in config:
            module = config.get("module") or "builtins"
            own = module == "builtins" or module.partition(".")[0] == "keras"
            if not own and config["class_name"] not in self.custom_objects:
                raise LookupError(config["class_name"])

    def _find(self, module: str, name: str) -> Any:
        """A function or class by name. The file is not believed: it could name anything at all."""
        if name in self.custom_objects:
            return self.custom_objects[name]
        if not self.safe_mode:
            home: Any = import_module(module)
            for part in name.split("."):
                home = getattr(home, part)
            return home
        for part in (keras.optimizers, keras.losses, keras.metrics, keras.optimizers.schedules):
            if module.startswith("keras.") and inspect.isclass(getattr(part, name, None)):
                return getattr(part, name)
        raise LookupError(name)


def _template(page: Mapping[str, Any]) -> Any:
    if "dict" in page:
        return {name: _template(part) for name, part in page["dict"].items()}
    if "tuple" in page:
        return tuple(_template(part) for part in page["tuple"])
    return np.empty(page["shape"], dtype=np.dtype(page["dtype"]))


def _read_arrays(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    return {
        name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
        for name in names
    }


def _read_model(archive: zipfile.ZipFile, references: _References) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = archive.extract("model.keras", folder)
        try:
            return keras.saving.load_model(
                path, custom_objects=references.custom_objects, safe_mode=references.safe_mode
            )
        except (TypeError, ValueError) as error:
            raise InvalidModel(
                "The saved model holds custom objects or code (a Lambda layer, say). Give the "
                "objects as custom_objects={name: object}; if you trust the file, "
                f"safe_mode=False loads its code. ({str(error).splitlines()[0]})"
            ) from error


def _restore(
    estimator: Any, page: Mapping[str, Any], model: keras.Model, arrays: dict[str, np.ndarray]
) -> None:
    for name, value in page["learned"].items():
        setattr(estimator, name, value)
    if "feature_names_in_" in arrays:
        estimator.feature_names_in_ = arrays["feature_names_in_"].astype(object)
    if "validation_rows_" in arrays:
        estimator.validation_rows_ = arrays["validation_rows_"]
    n_columns = sum(name.startswith("classes") for name in arrays)
    labels = [arrays[f"classes{i}"] for i in range(n_columns)]
    kind = ClassTarget if isinstance(estimator, KerasClassifier) else ValueTarget
    target: Any = kind.from_state(page["target"], labels)
    template = _template(page["template"])
    heads = build_for(model, template)
    made = Made(model, heads, head_losses(model, heads))
    target.fit_to(made.heads, made.losses)
    # Without a builder the model cannot be made again, but it is here.
    known = estimator._builder() is not None
    settings: Any = read_settings(estimator, {}) if known else None
    estimator._construction = Construction(
        settings, template, target, page["n_samples"], keras.config.dtype_policy()
    )
    estimator._row_shapes = map_arrays(lambda array: array.shape[1:], template)
    estimator._input_shapes = input_shapes(model)
    estimator._held = OwnModel(made)
    estimator._learn(target)
