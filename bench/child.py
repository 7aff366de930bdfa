"""Run one peer on a part of one workload; started by ``processes`` with the peer's interpreter.

    python child.py TASK OUT

Both are JSON files: what to do, and where the outcome goes. Standard output stays the peer's own.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any


def main(task_file: str, out_file: str) -> None:
    task = json.loads(Path(task_file).read_text())
    started = time.perf_counter()
    peer = importlib.import_module(f"peers.{task['module']}")
    compilations = _compilations(task["backend"])
    imports = time.perf_counter() - started
    outcome = _measured(peer, task)
    if compilations is not None:
        outcome.more["jax"] = _compiled(compilations, outcome)
    found = {**asdict(outcome), "imports": imports, "peak": peak()}
    Path(out_file).write_text(json.dumps(found))


def peak() -> int:
    """The most bytes that this process held; the kernel counts anew when a program begins.

    ``ru_maxrss`` would begin with what the process held that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024


def _compilations(backend: str) -> Any:
    if backend != "jax" or "jax" not in sys.modules:  # MLPClassifier's process has none
        return None
    return importlib.import_module("compilations").Compilations()


def _compiled(compilations: Any, outcome: Any) -> dict[str, Any]:
    """In the whole search, and in each of its fits."""
    of_fits = [[compilations.between(*span)["compile"] for span in row] for row in outcome.spans]
    ended = outcome.started + outcome.seconds
    return {**compilations.between(outcome.started, ended), "of_fits": of_fits}


def _measured(peer: Any, task: dict[str, Any]) -> Any:
    from parts import Part
    from workloads import workload

    part = Part(tuple(task["candidates"]), task["n_folds"])
    work = replace(workload(task["workload"]), seed=task["seed"])
    return peer.run(work, part, **task["options"])


if __name__ == "__main__":
    main(*sys.argv[1:])
