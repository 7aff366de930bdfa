"""Traced steps, and the compiled programs made of them.

Whether two models are the same to the compiler is judged by the program that their steps trace to:
its equations, the constants in it, and the form of what it takes and returns. Names do not enter
it, and whatever a layer does that its config does not tell, does.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxpr_as_fun

from .effort import Effort
from .lifting.flat import Flat, NotWoven, ResizedOperations, flatten
from .recent import keep
from .steps import Address, as_copies
from .stored_programs import StoredPrograms
from .work import Work, work_of

PROGRAMS_KEPT = 256
_THIS_PROCESS = uuid.uuid4().hex
# Settings of JAX that a step is traced or compiled by, where its text may not show them.
_MADE_BY = (
    "jax_debug_infs",
    "jax_debug_nans",
    "jax_default_device",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_disable_jit",
    "jax_disable_most_optimizations",
    "jax_enable_x64",
    "jax_exec_time_optimization_effort",
    "jax_numpy_dtype_promotion",
    "jax_optimization_level",
    "jax_platforms",
    "jax_random_seed_offset",
    "jax_threefry_gpu_kernel_lowering",
    "jax_threefry_partitionable",
)


@dataclass(frozen=True, eq=False)
class TracedStep:
    """A pure function of arrays, traced: what it does, without the model that it came from."""

    key: str
    work: Work
    result_like: Any  # shapes and types of what it returns
    frame: Any  # shapes, types and names of a row of its batches, and of its logs
    n_rows: int  # of a batch
    _call: Callable[..., Any]
    flat: Flat | None = None  # where it can be written out as a list of equations
    _around: str = ""  # of the key, what the equations do not tell
    # Whole numbers of the state that change in a way of their own, whatever else a step is given.
    by_themselves: frozenset[Address] = frozenset()

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    @property
    def form(self) -> Hashable:
        """Equal for steps that differ in scalars and sizes alone; None where nothing tells."""
        if self.flat is None or self.work.calls_host:
            return None
        return self.flat.frame, self._around, self.frame[-1]

    def with_numbers(self, new: Mapping[int, Any]) -> TracedStep:
        """As it would be traced if those scalars had other values."""
        assert self.flat is not None
        return self._of(self.flat.with_numbers(new))

    def with_sizes(
        self, sizes: Sequence[int], n_rows: int, new: Mapping[int, Any], known: ResizedOperations
    ) -> TracedStep:
        """As it would be traced on arrays of other sizes, with other values of those scalars."""
        assert self.flat is not None
        flat = self.flat.with_sizes(sizes, known).with_numbers(new, vary=False)
        like = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in flat.gives]
        result_like = jax.tree.unflatten(jax.tree.structure(self.result_like), like)
        n_data = len(self.frame[0])
        frame = _frame(flat.takes[-n_data:], result_like, self.frame[-1])
        other = replace(self, result_like=result_like, frame=frame, n_rows=n_rows, work=flat.work)
        return other._of(flat)

    def _of(self, flat: Flat) -> TracedStep:
        key = _digest(flat.key, self._around)
        return replace(
            self, key=key, flat=flat, _call=as_step(flat, jax.tree.structure(self.result_like))
        )

    def where_vary(self, places: Collection[int]) -> TracedStep:
        """The same, with those scalars marked as such that vary."""
        assert self.flat is not None
        numbers = self.flat.numbers
        return replace(self, flat=self.flat.with_numbers({n: numbers[n].value for n in places}))


def trace(function: Callable[..., Any], *arguments: Any) -> TracedStep:
    traced = jax.jit(function).trace(*arguments)
    program, result = traced.jaxpr, jax.tree.structure(traced.out_info)
    flat = _flat_or_none(program)
    work = flat.work if flat else work_of(program)
    around = f"{made_by()} {jax.tree.structure(arguments)} {result}"
    if flat and flat.has_address:
        around += _THIS_PROCESS
    if work.calls_host:  # which function, the text does not tell
        around += uuid.uuid4().hex
    like = jax.tree.map(lambda out: jax.ShapeDtypeStruct(out.shape, out.dtype), traced.out_info)
    data = jax.tree.leaves(arguments[1:])
    frame = _frame(data, like, str(jax.tree.structure((arguments[1:], like[1:]))))
    key = _digest(flat.key if flat else _key_of(program), around)
    call = as_step(jaxpr_as_fun(program), result)
    return TracedStep(key, work, like, frame, data[0].shape[0], call, flat, around)


def _frame(data: Sequence[Any], result_like: Any, structure: str) -> tuple[Any, ...]:
    rows = tuple((array.shape[1:], str(array.dtype)) for array in data)
    logs = tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(result_like[1:]))
    return rows, logs, structure


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def as_step(call: Callable[..., Any], result: Any) -> Callable[..., Any]:
    """A function of lists of arrays as one of what stands in a state and a batch."""

    def step(*given: Any) -> Any:
        return jax.tree.unflatten(result, call(*jax.tree.leaves(given)))

    return step


def _flat_or_none(program: Any) -> Flat | None:
    try:
        return flatten(program)
    except NotWoven:
        return None


def _key_of(program: Any) -> str:
    """Of a program that cannot be written out: by all of its text and its constants."""
    text = str(program)
    digest = hashlib.sha256(text.encode())
    if " at 0x" in text:  # an address, which another process uses for something else
        digest.update(_THIS_PROCESS.encode())
    for constant in _constants(program):
        array = _numbers_of(constant)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def made_by() -> list[Any]:
    """The settings of JAX that tell programs of the same text apart."""
    return [getattr(jax.config, name, None) for name in _MADE_BY]


def _numbers_of(constant: Any) -> np.ndarray:
    """A constant, or what a key for random bits is made of; its type is in the text."""
    is_key = jax.dtypes.issubdtype(getattr(constant, "dtype", None), jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(constant) if is_key else constant)


class Programs:
    """Compiled programs by key; the least recently used goes when there are too many.

    ``compilations`` counts those that were compiled, or found on disk.
    """

    def __init__(self, kept: int = PROGRAMS_KEPT, stored: StoredPrograms | None = None) -> None:
        self._kept, self._stored = kept, stored or StoredPrograms(None)
        self._compiled: OrderedDict[Any, Future[Any]] = OrderedDict()
        self.compilations = 0
        self._lock = Lock()

    def clear(self) -> None:
        self._compiled.clear()

    def prepare(
        self,
        key: tuple[Any, ...],
        function: Callable[..., Any],
        *arguments: Any,
        effort: Effort = Effort.FULL,
        pool: Executor | None = None,
        consumes: bool = False,
    ) -> Future[Any]:
        """The program of ``function`` for arguments of these shapes, when it is compiled.

        Parameters
        ----------
        key : tuple
            What the function does; the shapes of the arguments are added to it here.
        function : callable
        *arguments : arrays
            Only their shapes and types matter.
        effort : Effort
            How well to compile. It counts on CPUs only.
        pool : Executor, optional
            Compiles there, so that programs are compiled while others are traced.
        consumes : bool
            Whether arrays of JAX in the first argument are gone after a call, as in Keras's own
            programs: it may be what decides how XLA rounds. Arrays of NumPy stay.
        """
        effort = effort if jax.default_backend() == "cpu" else Effort.FULL
        full_key = (*key, effort, consumes, *_shapes(arguments))
        with self._lock:
            known = self._compiled.get(full_key)
            if known is not None and not known.cancelled():  # by an interrupt
                self._compiled.move_to_end(full_key)
                return known
        jitted = jax.jit(function, donate_argnums=0 if consumes else None)
        lower = partial(jitted.lower, *arguments)
        program: Future[Any] = Future()
        stored = self._stored.load(full_key)
        if stored is not None:
            program.set_result(_Read(stored, lambda: self._compile(full_key, lower(), effort)))
        elif pool is None:
            program.set_result(self._compile(full_key, lower(), effort))
        else:
            program = pool.submit(self._compile, full_key, lower(), effort)
        with self._lock:
            self.compilations += known is None  # and not one that was cancelled
            keep(self._compiled, full_key, program, self._kept)
        return program

    def _compile(self, key: tuple[Any, ...], lowered: Any, effort: Effort) -> Any:
        program = effort.compile(lowered)
        self._stored.save(key, program)
        return program


class _Read:
    """A program from disk, which is compiled after all if it cannot be run."""

    def __init__(self, program: Any, compile_it: Callable[[], Any]) -> None:
        self._program, self._compile_it = program, compile_it
        self._has_run = False

    def __call__(self, *arguments: Any) -> Any:
        if self._has_run:
            return self._program(*arguments)
        try:
            first, *others = arguments  # the first may be consumed, and is needed once more then
            result = jax.block_until_ready(self._program(as_copies(first), *others))
        except jax.errors.JaxRuntimeError:
            self._program = self._compile_it()
            result = self._program(*arguments)
        self._has_run = True
        return result

    def memory_analysis(self) -> Any:
        return self._program.memory_analysis()


def _shapes(arguments: Any) -> tuple[Any, ...]:
    leaves, structure = jax.tree.flatten(arguments)
    return (structure, *((np.shape(leaf), str(leaf.dtype)) for leaf in leaves))


def _constants(program: Any) -> Iterator[Any]:
    """Constants of a program and of the programs within it."""
    yield from getattr(program, "consts", ())
    for equation in getattr(program, "jaxpr", program).eqns:
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                if hasattr(part, "eqns") or hasattr(part, "jaxpr"):
                    yield from _constants(part)
