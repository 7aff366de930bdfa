"""Start a peer's process, and measure it from outside: seconds, and the most memory it held."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from parts import Part
from peers.registry import Peer

HERE = Path(__file__).parent
_EVERY = 0.5  # seconds between two looks at the memory of a process with workers
# What of the caller's variables would change how fast a peer is, or what it finds.
_NOT_PASSED = (
    *("JAX_", "XLA_", "TF_", "KERAS_", "AMALTHEA_", "LOKY_", "PYTHONPATH"),
    *("OMP_NUM_THREADS", "MKL_", "OPENBLAS_"),
)
_LOUD = 3000  # characters of a failed process that are shown


class PeerFailed(RuntimeError):
    """A peer's process ended with an error."""


def environment_of(peer: Peer, cache: Path | None = None) -> dict[str, str]:
    """The variables of a peer's process; ``cache`` is a folder for compiled programs, or none.

    This is the one place where caches are settled: Amalthea's own, and for the others JAX's.
    """
    variables = {n: v for n, v in os.environ.items() if not n.startswith(_NOT_PASSED)}
    variables |= {"KERAS_BACKEND": peer.backend, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    variables |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore", "AMALTHEA_CACHE": "0"}
    if cache is not None and peer.name == "amalthea":
        variables["AMALTHEA_CACHE"] = str(cache)
    elif cache is not None:
        variables |= {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    return variables


def measured(
    python: Path,
    peer: Peer,
    workload: str,
    part: Part,
    seed: int = 0,
    cache: Path | None = None,
    timeout: float = 900.0,
    before: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The outcome of a peer on a part of a workload, with ``process`` seconds and ``peak`` bytes.

    ``before`` is put before the command line, as a profiler's is.
    """
    with tempfile.TemporaryDirectory() as folder:
        task, out = Path(folder, "task.json"), Path(folder, "out.json")
        task.write_text(json.dumps(_task(peer, workload, part, seed)))
        command = [*before, str(python), str(HERE / "child.py"), str(task), str(out)]
        seconds, peak = run(command, environment_of(peer, cache), timeout, peer, folder)
        outcome: dict[str, Any] = json.loads(out.read_text())
    return {**outcome, "process": seconds, "peak": max(peak, outcome["peak"])}


def _task(peer: Peer, workload: str, part: Part, seed: int) -> dict[str, Any]:
    return {
        "module": peer.module,
        "backend": peer.backend,
        "options": peer.options,
        "workload": workload,
        "seed": seed,
        "candidates": part.candidates,
        "n_folds": part.n_folds,
    }


def run(
    command: list[str], variables: dict[str, str], timeout: float, peer: Peer, folder: str
) -> tuple[float, int]:
    """Seconds, and the most bytes that a process with workers was seen to hold."""
    log = Path(folder, "log")
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,  # so that its workers can be ended with it
        )
        watch = threading.Timer(timeout, _end, [process])
        watch.start()
        memory = _Memory(process.pid, peer.n_jobs > 1)
        try:
            process.wait()
            seconds = time.perf_counter() - started
        finally:
            watch.cancel()
            most = memory.stopped()
            _end(process)
    if process.returncode:
        tail = log.read_text(errors="replace")[-_LOUD:]
        after = f"{process.returncode} after {seconds:.0f} seconds"
        raise PeerFailed(f"{peer.name} ended with {after}:\n{tail}")
    return seconds, most


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and its workers, if it has not ended."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Memory:
    """The most that a process and its workers held together, looked at now and then."""

    def __init__(self, pid: int, has_workers: bool) -> None:
        self._most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        if has_workers:  # one process tells by itself
            self._thread.start()

    def _watch(self, pid: int) -> None:
        while not self._ended.wait(_EVERY):
            self._most = max(self._most, _held(pid))

    def stopped(self) -> int:
        self._ended.set()
        return self._most


def _held(pid: int) -> int:
    """Pages that several of them share count once."""
    total = 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            total += one.memory_full_info().pss
    except psutil.Error:  # one has just ended
        pass
    return total
