"""Where Amalthea's own time goes: samples of the running thread's stack, sorted into parts.

While XLA compiles or runs, the Python frame that called it is on top. Sampling slows
what it samples: the shares count, and the seconds are longer than those of the benchmark.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import FrameType

import flame
import results
from parts import whole
from plan import plan_for
from workloads import WORKLOADS

import amalthea  # noqa: F401  chooses the backend before Keras is imported

Frame = tuple[str, str]  # file and function
Stack = tuple[Frame, ...]  # outermost first

PERIOD = 0.001
_TRACER = "jax/_src/interpreters/partial_eval.py"
# Where a thread stands that waits for another one.
IDLE = {
    *(("concurrent/futures/thread.py", "_worker"), ("threading.py", "wait")),
    *(("concurrent/futures/_base.py", "result"), ("threading.py", "_wait_for_tstate_lock")),
}
# The innermost frame that tells decides. A file, or a file and a function of it.
PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("compile", ("jax/_src/compiler.py",)),
    (
        "trace",
        ("engine/structures.py:_trace", "engine/programs.py", "engine/structures.py:of_predict"),
    ),
    ("transfer", ("engine/data.py", "engine/lanes.py", "jax/_src/api.py:device_put")),
    ("run", ("engine/runs.py", "engine/epochs.py", "jax/_src/stages.py", "engine/cohorts.py")),
    ("scoring", ("engine/predictions.py", "sklearn/metrics/", "estimators/class_codecs.py")),
    ("build", ("estimators/building.py", "estimators/compiling.py", "estimators/held_models.py")),
    ("record", ("estimators/histories.py", "estimators/fit_callbacks.py")),
    ("lifting", ("engine/lifting/",)),
    ("estimator", ("amalthea/estimators/", "amalthea/engine/")),
    ("rendezvous", ("amalthea/rendezvous/",)),
    ("search", ("amalthea/search/",)),
    ("scikit-learn", ("sklearn/", "joblib/")),
)


def main(names: Sequence[str]) -> int:
    results.FOLDER.mkdir(exist_ok=True)
    for name in plan_for(list(names)).workloads:
        stacks, seconds = sampled(name)
        title, rows = f"{name}: {seconds:.2f} s", shares(stacks, seconds)
        path = results.FOLDER / f"profile-{name}.html"
        path.write_text(flame.page(stacks, title, rows))
        print(f"{title}\n{results.table(['part', 'seconds', 'share'], rows)}")
        print(f"flame graph: {os.path.relpath(path)}", flush=True)
    return 0


def shares(stacks: Counter[Stack], seconds: float) -> list[list[str]]:
    """The parts, the longest first: name, seconds, share."""
    parts = Counter[str]()
    for stack, count in stacks.items():
        parts[part_of(stack)] += count
    total = sum(stacks.values())
    return [
        [part, f"{seconds * count / total:.2f}", f"{100 * count / total:.0f} %"]
        for part, count in parts.most_common()
    ]


def part_of(stack: Stack) -> str:
    """The part that a sample belongs to."""
    for file, function in reversed(stack):
        for part, signs in PARTS:
            for sign in signs:
                name, _, only = sign.partition(":")
                if name in file and only in ("", function):
                    return "trace" if part == "run" and _is_traced(stack) else part
    return "other"


def _is_traced(stack: Stack) -> bool:
    """Whether JAX runs a function to see what it does, and not for its numbers."""
    return any(_TRACER in file for file, _ in stack)


def sampled(name: str) -> tuple[Counter[Stack], float]:
    """Samples of one search, and the seconds that it took."""
    from peers import with_amalthea

    workload = WORKLOADS[name]
    stacks: Counter[Stack] = Counter()
    done = threading.Event()
    sampler = threading.Thread(target=_sample, args=(stacks, done), daemon=True)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(PERIOD / 5)
    sampler.start()
    seconds = with_amalthea.run(workload, whole(workload)).seconds
    done.set()
    sampler.join()
    sys.setswitchinterval(interval)
    return stacks, seconds


def _sample(stacks: Counter[Stack], done: threading.Event) -> None:
    me = threading.get_ident()
    while not done.is_set():
        for ident, frame in sys._current_frames().items():
            if ident != me:
                stack = _stack(frame)
                if stack and not _waits(stack[-1]):
                    stacks[stack] += 1
        time.sleep(PERIOD)


def _stack(frame: FrameType | None) -> Stack:
    """The frames below this one; empty where the thread ran on while they were read."""
    stack: list[Frame] = []
    try:
        while frame is not None:
            stack.append((_short(frame.f_code.co_filename), frame.f_code.co_name))
            frame = frame.f_back
    except AttributeError:
        return ()
    return tuple(reversed(stack))


def _waits(frame: Frame) -> bool:
    return any(frame[0].endswith(file) and frame[1] == function for file, function in IDLE)


def _short(file: str) -> str:
    for mark in ("site-packages/", "/src/", "/bench/", "/lib/python3"):
        _, found, rest = file.rpartition(mark)
        if found:
            return rest
    return file.rpartition("/")[2]
