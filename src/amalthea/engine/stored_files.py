"""Files in the user's cache folder, by everything that what stands in them depends on.

Files are written whole or not at all; one that cannot be read is removed. When there are too many
bytes, those that were not used for the longest time go.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jaxlib
import platformdirs
from jax.extend import backend

FOLDER = "AMALTHEA_CACHE"  # the variable that names another folder, or is 0 for none
# Before, XLA printed a long and needless warning for each program that it read on a CPU.
READS_QUIETLY = jax.__version_info__ >= (0, 10, 2)
_UNFINISHED = "unfinished-"


def folder_of_user() -> Path | None:
    """The user's cache folder, or where ``AMALTHEA_CACHE`` says; None where nothing is kept.

    With an older JAX only where it says so.
    """
    asked = os.environ.get(FOLDER, "").strip()
    if asked == "0" or not (asked or READS_QUIETLY):
        return None
    folder = Path(asked or platformdirs.user_cache_path("amalthea")).expanduser()
    return folder.absolute()


class StoredFiles:
    """Files of one kind in a folder.

    Parameters
    ----------
    folder : Path or None
        Made when it is first written to. None stores nothing.
    ending : str
        Of the names of these files; no others are touched.
    most_bytes : int
        Of all files together.
    """

    def __init__(self, folder: Path | None, ending: str, most_bytes: int) -> None:
        self._folder, self._ending, self._most_bytes = folder, ending, most_bytes

    @property
    def are_kept(self) -> bool:
        return self._folder is not None

    def read(self, key: tuple[Any, ...]) -> bytes | None:
        """What stands in the file of that key; None if there is none."""
        if self._folder is None:
            return None
        path = self._path(self._folder, key)
        try:
            content = path.read_bytes()
            os.utime(path)  # it was used
        except OSError:
            return None
        return content

    def remove(self, key: tuple[Any, ...]) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._path(self._folder, key).unlink()

    def write(self, contents: Mapping[tuple[Any, ...], bytes]) -> None:
        """Keep these, by their keys, if there is room.

        If nothing can be written, a warning says so once.
        """
        folder = self._folder
        if folder is None:
            return
        try:
            for key, content in contents.items():
                if len(content) <= self._most_bytes:
                    _write(self._path(folder, key), content)
            self._make_room(folder)
        except OSError as error:
            self._folder = None
            warnings.warn(
                f"Compiled programs cannot be kept in {folder}: {error}. Set {FOLDER} to "
                "another folder, or to 0 to keep none.",
                stacklevel=2,
            )

    def _path(self, folder: Path, key: tuple[Any, ...]) -> Path:
        digest = hashlib.sha256(repr(key).encode())
        digest.update(_surroundings().encode())
        digest.update(repr(sorted(jax.config.values.items())).encode())
        return folder / (digest.hexdigest() + self._ending)

    def _make_room(self, folder: Path) -> None:
        files = sorted(self._files(folder), key=lambda file: file[1].st_mtime, reverse=True)
        total = 0
        for path, facts in files:
            total += facts.st_size
            if total > self._most_bytes:
                with contextlib.suppress(FileNotFoundError):  # another process was faster
                    path.unlink()

    def _files(self, folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
        for path in (*folder.glob("*" + self._ending), *folder.glob(_UNFINISHED + "*")):
            with contextlib.suppress(FileNotFoundError):
                yield path, path.stat()


def _write(path: Path, content: bytes) -> None:
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
