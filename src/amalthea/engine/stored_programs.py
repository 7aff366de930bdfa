"""Compiled programs on disk, so that the next process need not make them again.

JAX has such a cache too, but looks into it with the lowered program, when half of the work is
done, and can be left with a file that was half written. Here the key is that of the program, of
everything that it is made from; only the steps of its models have to be known by then
(:mod:`.stored_steps`).

Reading a file runs what it says, as with JAX's cache: nobody else may write to the folder.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable

from .stored_files import StoredFiles, folder_of_user

MOST_BYTES = 2**28
_load: Any = serialize_executable.deserialize_and_load


class StoredPrograms:
    """Programs in a folder, or nowhere."""

    def __init__(self, folder: Path | None, most_bytes: int = MOST_BYTES) -> None:
        self._files = StoredFiles(folder, ".program", most_bytes)

    @classmethod
    def of_user(cls) -> StoredPrograms:
        folder = folder_of_user()
        return cls(folder and folder / "programs")

    def load(self, key: tuple[Any, ...]) -> Any:
        """The program of that key, ready to be called, or None."""
        content = None if _cache_of_jax() else self._files.read(key)
        if content is None:
            return None
        try:
            number, *written = pickle.loads(content)
            (device,) = (device for device in jax.devices() if device.id == number)
            return _load(*written, execution_devices=[device])
        except Exception:  # whatever stands in that file
            self._files.remove(key)
            return None

    def save(self, key: tuple[Any, ...], program: Any) -> None:
        """Keep a compiled program, where this backend can and there is room.

        Not where JAX's own cache was chosen: a program that JAX has read may not write well.
        """
        if _cache_of_jax() or not self._files.are_kept:
            return
        try:
            (device,) = jax.tree.leaves(program.output_shardings)[0].device_set
            content = pickle.dumps((device.id, *serialize_executable.serialize(program)))
        except Exception:  # backends and programs that cannot be written down
            return
        self._files.write({key: content})


def _cache_of_jax() -> str | None:
    folder: str | None = jax.config.values["jax_compilation_cache_dir"]
    return folder
