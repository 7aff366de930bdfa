"""Fitted estimators in a file that can be read without running what is in it.

The file is a zip archive: the model in Keras's own format, arrays without pickles, and a JSON
page with the parameters. Functions and classes are written as references, never as code.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import __version__
from ..errors import AmaltheaWarning

FORMAT = 1
_LEARNED = (
    "seed_",
    "n_epochs_",
    "history_",
    "_epochs_of",
    "n_features_in_",
    "target_type_",
    "n_outputs_",
)


_MISSING: Any = object()  # stands for what cannot be written


def save(estimator: Any, path: Any) -> None:
    """Write a fitted estimator; the file appears complete or not at all."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to save {path.name} in.")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        model = Path(folder) / "model.keras"
        keras.saving.save_model(estimator.model_, model)
        whole = Path(folder) / "whole"
        with zipfile.ZipFile(whole, "w") as archive:
            archive.write(model, "model.keras")
            archive.writestr("estimator.json", json.dumps(_page(estimator), indent=1))
            for name, array in _arrays(estimator).items():
                archive.writestr(f"{name}.npy", _bytes_of(array))
        os.replace(whole, path)


def _page(estimator: Any) -> dict[str, Any]:
    learned = {name: _encoded(name, getattr(estimator, name)) for name in _LEARNED}
    encoded = {name: _encoded(name, value) for name, value in estimator._given.items()}
    return {
        "format": FORMAT,
        "versions": {"amalthea": __version__, "keras": keras.__version__},
        "kind": type(estimator).__name__,
        "given": {name: value for name, value in encoded.items() if value is not _MISSING},
        "learned": learned,
        "n_samples": estimator._construction.n_samples,
        "template": _shapes_and_types(estimator._construction.template),
        "target": estimator._target.state(),
    }


def _encoded(name: str, value: Any) -> Any:
    """A parameter as JSON; a warning, and nothing, for what only a pickle can hold."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _encoded(name, value.tolist())
    if isinstance(value, list | tuple):
        members = [_encoded(name, member) for member in value]
        if any(member is _MISSING for member in members):
            return _MISSING
        return {"tuple": members} if isinstance(value, tuple) else members
    if isinstance(value, Mapping):
        pairs = [[_encoded(name, k), _encoded(name, v)] for k, v in value.items()]
        return _MISSING if any(_MISSING in pair for pair in pairs) else {"dict": pairs}
    if hasattr(value, "__qualname__") and hasattr(value, "__module__"):
        return {"reference": [value.__module__, value.__qualname__]}
    if isinstance(value, keras.Model) or not hasattr(value, "get_config"):
        warnings.warn(
            f"The parameter {name}={value!r} is not saved; the fitted model is. Give it again "
            "after loading, or use pickle.",
            AmaltheaWarning,
            stacklevel=2,
        )
        return _MISSING
    return {"keras": keras.saving.serialize_keras_object(value)}


def _shapes_and_types(template: Any) -> Any:
    if isinstance(template, dict):
        return {"dict": {name: _shapes_and_types(array) for name, array in template.items()}}
    if isinstance(template, tuple):
        return {"tuple": [_shapes_and_types(array) for array in template]}
    return {"shape": template.shape, "dtype": template.dtype.str}


def _arrays(estimator: Any) -> dict[str, np.ndarray]:
    arrays = {f"classes{i}": a for i, a in enumerate(estimator._target.label_arrays())}
    learned = ("feature_names_in_", "validation_rows_")
    return arrays | {name: getattr(estimator, name) for name in learned if hasattr(estimator, name)}


def _bytes_of(array: np.ndarray) -> bytes:
    if array.dtype == object:  # strings, as data frames have them
        array = array.astype(str)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
