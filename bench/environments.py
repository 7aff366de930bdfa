"""A pinned environment for each peer, made once and used again while its list stays the same."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
OWN = "amalthea"  # the environment that the bench itself runs in


def interpreter(name: str) -> str:
    """The Python of an environment that :func:`make_all` has made."""
    return sys.executable if name == OWN else str(_folder(name) / "bin" / "python")


def make_all(names: set[str]) -> None:
    """Make those environments, two at a time, that are not there or whose lists have changed."""
    missing = sorted(name for name in names - {OWN} if not _is_made(name))
    if missing:
        print(f"making environments for {', '.join(missing)}: some minutes the first time")
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(_make, missing))


def pinned(name: str) -> dict[str, str]:
    """Versions by package."""
    lines = _list(name).read_text().split() if name != OWN else []
    return dict(line.split("==") for line in lines)


def _make(name: str) -> None:
    folder = _folder(name)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    install = [*pip, "install", "-qq", "--no-input", "--no-deps", "-r", str(_list(name))]
    subprocess.run(install, check=True)
    (folder / ".stamp").write_text(_stamp(name))


def _is_made(name: str) -> bool:
    stamp = _folder(name) / ".stamp"
    return stamp.exists() and stamp.read_text() == _stamp(name)


def _stamp(name: str) -> str:
    return hashlib.sha256(
        f"{sys.version} {_folder(name)}".encode() + _list(name).read_bytes()
    ).hexdigest()


def _folder(name: str) -> Path:
    return HERE / ".environments" / name


def _list(name: str) -> Path:
    return HERE / "environments" / f"{name}.txt"
