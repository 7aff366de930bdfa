"""Which backend Keras starts on, decided before Keras is imported.

Keras settles its backend once, while it is imported, and falls back to TensorFlow. Amalthea is
made for JAX: where nobody has chosen a backend, this module chooses JAX, and where somebody has,
it leaves the choice alone. A choice is

- the environment variable ``KERAS_BACKEND``, or
- a Keras configuration file (``~/.keras/keras.json``, or under ``KERAS_HOME``) that names a
  backend. Keras itself writes such a file, naming TensorFlow, the first time it is imported on a
  machine, whatever backend is in use. A file equal to that one was therefore chosen by nobody.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

_WRITTEN_BY_KERAS = {
    "floatx": "float32",
    "epsilon": 1e-07,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def choose(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set ``KERAS_BACKEND`` to JAX unless a backend is chosen or Keras is already imported."""
    if "keras" in sys.modules or environ.get("KERAS_BACKEND"):
        return
    if not _file_chooses(_configuration_file(environ)):
        environ["KERAS_BACKEND"] = "jax"


def _configuration_file(environ: MutableMapping[str, str]) -> Path:
    home = environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "keras.json"


def _file_chooses(path: Path) -> bool:
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    if not isinstance(settings, dict) or "backend" not in settings:
        return False
    return settings != _WRITTEN_BY_KERAS
