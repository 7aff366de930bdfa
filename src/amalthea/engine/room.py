"""How much memory there is, and how much a cohort takes.

The bound is what the user allowed the process to hold, or half of what is free on top of what it
holds. On CPUs half of what is left of it is the engine's, for programs and for data; the other half
is for those who wait for their fits, and hold data and models meanwhile. Accelerators have memory
of their own, and there the engine may take what is free of it, or as much as the bound.
"""

from __future__ import annotations

import math
from pathlib import Path

import jax
import numpy as np
import psutil

from .rows import Rows, in_keras_types, leaves
from .steps import State
from .work import Work

SHARE_OF_FREE = 0.5  # the bound when none is given
SHARE_OF_ENGINE = 0.5  # of the bound
COPIES_OF_STATE = 3  # what goes into an epoch, what comes out of it, and what is kept meanwhile


def room_for_engine(max_memory: int | None) -> float:
    """Bytes that programs and data of a cohort may take on the device."""
    if jax.default_backend() == "cpu":
        return SHARE_OF_ENGINE * to_be_used(max_memory)
    known = jax.local_devices()[0].memory_stats() or {}
    free = known.get("bytes_limit", math.inf) - known.get("bytes_in_use", 0)
    return float(free) if max_memory is None else min(float(free), float(max_memory))


def bytes_of_lane(state: State, step: Work) -> float:
    """What one fit takes in a stacked program: its state, and what a step writes, at the most."""
    numbers = sum(math.prod(np.shape(value)) for group in state for value in group)
    return 4.0 * (COPIES_OF_STATE * numbers + step.elements)


def bytes_on_device(rows: Rows) -> float:
    """What these rows take on the device, beside what they take already.

    A CPU uses arrays of NumPy as they are, but for those of another float type.
    """
    arrays = leaves((rows.x, rows.y, rows.sample_weight))
    on_cpu = jax.default_backend() == "cpu"
    sizes = [in_keras_types(array[:0]).dtype.itemsize * array.size for array in arrays]
    as_they_are = [in_keras_types(array[:0]).dtype == array.dtype for array in arrays]
    pairs = zip(sizes, as_they_are, strict=True)
    return float(sum(size for size, same in pairs if not (on_cpu and same)))


def to_be_used(max_memory: int | None) -> float:
    """Bytes that may come on top of what the process holds."""
    if max_memory is None:
        return SHARE_OF_FREE * free_memory()
    return max(0.0, float(max_memory - psutil.Process().memory_info().rss))


def free_memory() -> float:
    """What is free on this machine, or in this container where that is less."""
    return min(float(psutil.virtual_memory().available), free_in_cgroup())


def free_in_cgroup(root: Path = Path("/sys/fs/cgroup"), own: str | None = None) -> float:
    """What the control groups of this process leave, version 2 or 1; inf without a limit."""
    own = _own_cgroup() if own is None else own
    here = root / own.strip("/")
    free = math.inf
    for folder in (here, *here.parents):
        if not folder.is_relative_to(root):
            break
        free = min(free, _free(folder, "memory.max", "memory.current", "inactive_file"))
    version_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return min(free, _free(root / "memory", *version_1))


def _own_cgroup() -> str:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    return next((line[3:] for line in lines if line.startswith("0::")), "")


def _free(folder: Path, limit: str, usage: str, cache: str) -> float:
    """The limit less what is used; pages of files that could be dropped are not used."""
    try:
        most = int((folder / limit).read_text())  # "max" is no limit
        used = int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return math.inf
    return float(max(0, most - used + int(stat.get(cache, 0))))
