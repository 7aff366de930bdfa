"""On what the bench ran: machine, date, versions."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

import psutil
import venvs

_TOLD = (
    *("amalthea", "keras", "jax", "jaxlib", "scikit-learn", "numpy", "scikeras", "tensorflow-cpu"),
    *("keras-tuner", "optuna", "skorch", "torch"),
)
_ASK = """
from importlib import metadata
for name in {names!r}:
    try:
        print(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        pass
"""


def machine() -> dict[str, str | int]:
    """What others need to judge the figures; nothing that names the machine."""
    return {
        "date": datetime.date.today().isoformat(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(environments: Iterable[str]) -> dict[str, dict[str, str]]:
    return {name: _versions(name) for name in environments}


def _versions(name: str) -> dict[str, str]:
    command = [str(venvs.python_of(name)), "-c", _ASK.format(names=_TOLD)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in out.splitlines())
