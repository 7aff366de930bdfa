"""An environment for each peer, from a file of pinned packages; made again when that changes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from peers.registry import HOME

HERE = Path(__file__).parent
FILES = HERE / "environments"
MADE = HERE / ".environments"


def python_of(name: str) -> Path:
    """The interpreter of an environment."""
    return Path(sys.executable) if name == HOME else MADE / name / "bin" / "python"


def make(names: Iterable[str]) -> None:
    """Make those environments that are missing or out of date, two at a time."""
    wanted = [name for name in dict.fromkeys(names) if name != HOME and not _is_current(name)]
    if wanted:
        print(f"making environments: {', '.join(wanted)}", flush=True)
    with ThreadPoolExecutor(2) as threads:  # half of it is waiting for the network
        list(threads.map(_make, wanted))


def _stamp(name: str) -> str:
    """What an environment was made from: its packages, the interpreter and its place."""
    pinned = (FILES / f"{name}.txt").read_bytes()
    return hashlib.sha256(pinned + f"{sys.version}{MADE / name}".encode()).hexdigest()


def _is_current(name: str) -> bool:
    stamp = MADE / name / "stamp"
    return stamp.exists() and stamp.read_text() == _stamp(name)


def _make(name: str) -> None:
    venv.create(MADE / name, with_pip=True, clear=True)
    command = [str(python_of(name)), "-m", "pip", "--disable-pip-version-check", "install"]
    command += ["-qq", "--no-input", "--no-deps", "-r", str(FILES / f"{name}.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The environment {name} could not be made:\n{done.stderr[-3000:]}")
    (MADE / name / "stamp").write_text(_stamp(name))
