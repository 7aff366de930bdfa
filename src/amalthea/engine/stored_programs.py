"""Compiled programs on disk, so that the next process need not make them again.

JAX has such a cache too, but looks into it with the lowered program, when half of the work is
done, and can be left with a file that was half written. Here the key is that of the program, of
everything that it is made from; only the steps of its models have been traced by then. Files are
written whole or not at all; one that cannot be read is removed. When there are too many bytes,
those that were not used for the longest time go.

Reading a file runs what it says, as with JAX's cache: nobody else may write to the folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import platform
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jaxlib
import platformdirs
from jax.experimental import serialize_executable
from jax.extend import backend

FOLDER = "AMALTHEA_CACHE"  # the variable that names another folder, or is 0 for none
MOST_BYTES = 2**28
# Before, XLA printed a long and needless warning for each program that it read on a CPU.
READS_QUIETLY = jax.__version_info__ >= (0, 10, 2)
_ENDING, _UNFINISHED = ".program", "unfinished-"
_load: Any = serialize_executable.deserialize_and_load


class StoredPrograms:
    """Programs in a folder, by everything that they depend on.

    Parameters
    ----------
    folder : Path or None
        Made when it is first written to. None stores nothing.
    most_bytes : int
        Of all files together.
    """

    def __init__(self, folder: Path | None, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most_bytes = folder, most_bytes

    @classmethod
    def of_user(cls) -> StoredPrograms:
        """Those in the user's cache folder, or where ``AMALTHEA_CACHE`` says.

        With an older JAX only where it says so.
        """
        asked = os.environ.get(FOLDER, "").strip()
        if asked == "0" or not (asked or READS_QUIETLY):
            return cls(None)
        folder = Path(asked or platformdirs.user_cache_path("amalthea")).expanduser()
        return cls(folder.absolute() / "programs")

    def load(self, key: tuple[Any, ...]) -> Any:
        """The program of that key, ready to be called, or None."""
        if not self._is_used:
            return None
        path = self._path(key)
        try:
            content = path.read_bytes()
            os.utime(path)  # it was used
        except OSError:
            return None
        try:
            number, *written = pickle.loads(content)
            (device,) = (device for device in jax.devices() if device.id == number)
            return _load(*written, execution_devices=[device])
        except Exception:  # whatever stands in that file
            with contextlib.suppress(OSError):
                path.unlink()
            return None

    def save(self, key: tuple[Any, ...], program: Any) -> None:
        """Keep a compiled program, where this backend can and there is room."""
        if not self._is_used:
            return
        try:
            (device,) = jax.tree.leaves(program.output_shardings)[0].device_set
            content = pickle.dumps((device.id, *serialize_executable.serialize(program)))
        except Exception:  # backends and programs that cannot be written down
            return
        if len(content) > self._most_bytes:
            return
        try:
            self._write(self._path(key), content)
            self._make_room()
        except OSError as error:
            folder, self._folder = self._folder, None
            warnings.warn(
                f"Compiled programs cannot be kept in {folder}: {error}. Set {FOLDER} to "
                "another folder, or to 0 to keep none.",
                stacklevel=2,
            )

    @property
    def _is_used(self) -> bool:
        """Not where JAX's own cache was chosen: a program that JAX has read may not write well."""
        return self._folder is not None and not _cache_of_jax()

    def _path(self, key: tuple[Any, ...]) -> Path:
        assert self._folder is not None
        digest = hashlib.sha256(repr(key).encode())
        digest.update(_surroundings().encode())
        digest.update(repr(sorted(jax.config.values.items())).encode())
        return self._folder / (digest.hexdigest() + _ENDING)

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _make_room(self) -> None:
        files = sorted(self._files(), key=lambda file: file[1].st_mtime, reverse=True)
        total = 0
        for path, facts in files:
            total += facts.st_size
            if total > self._most_bytes:
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    path.unlink()

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        assert self._folder is not None
        for path in (*self._folder.glob("*" + _ENDING), *self._folder.glob(_UNFINISHED + "*")):
            with contextlib.suppress(FileNotFoundError):
                yield path, path.stat()


@functools.lru_cache(maxsize=1)
def _surroundings() -> str:
    """What programs depend on that is the same throughout a process."""
    return repr(
        (
            _code_of_engine(),
            platform.python_version(),
            (jax.__version__, jaxlib.__version__),
            (backend.get_backend().platform, backend.get_backend().platform_version),
            [(device.device_kind, device.id) for device in jax.devices()],
            (platform.machine(), platform.processor(), _abilities_of_cpu()),
            sorted((name, value) for name, value in os.environ.items() if "XLA" in name),
        )
    )


def _code_of_engine() -> str:
    """What the programs are made by: another version makes others from the same steps."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _abilities_of_cpu() -> list[str]:
    """Instructions that compiled code may use; a folder can be shared by several machines."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    return sorted(set(re.findall(r"^(?:flags|Features|model name)\s*:.*$", text, re.MULTILINE)))


def _cache_of_jax() -> str | None:
    folder: str | None = jax.config.values["jax_compilation_cache_dir"]
    return folder
