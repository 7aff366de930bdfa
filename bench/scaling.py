"""How time and memory grow with the number of fits, and with the rows of data."""

from __future__ import annotations

from typing import Any

from measure import measured
from solvers import AMALTHEA
from workloads import workload

# Candidates on five folds each: 10 to 10,000 fits; and rows of a table, for nine fits.
SIZES = {
    "fits": ("many2", "many20", "many200", "many2000"),
    "rows": ("rows1000", "rows10000", "rows100000"),
}


def curves(sizes: dict[str, tuple[str, ...]]) -> dict[str, list[dict[str, Any]]]:
    """For each axis the points of its curve: size, seconds, peak memory."""
    return {axis: [_point(axis, name) for name in names] for axis, names in sizes.items()}


def _point(axis: str, name: str) -> dict[str, Any]:
    work = workload("many" if name == "many2000" else name)
    result = measured(AMALTHEA, work)
    size = work.n_fits if axis == "fits" else int(name.removeprefix("rows"))
    print(f"{name}: {result['seconds']:.2f} s, {result['peak_mb']:.0f} MB", flush=True)
    return {"size": size, "seconds": result["seconds"], "peak_mb": result["peak_mb"]}
