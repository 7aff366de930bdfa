"""What was learned by tracing, on disk, so that the next process need not trace the same again.

Two kinds of things are kept: steps, as lists of equations (:mod:`.lifting.flat`), and what a fit
begins with. They are asked for by the text of a likeness (:mod:`.likeness`), which tells all that
tracing reads, by the settings and shapes that go with it, and by the code of Keras. Where a step
cannot be written down (it calls Python, does what its text does not tell, or has something in it
that JAX does not let go of), it is traced anew.

Reading a file runs what it says: nobody else may write to the folder.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import pickle
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from jax.extend.core import Primitive, primitives

from .programs import TracedStep, as_step
from .stored_files import StoredFiles, folder_of_user

MOST_BYTES = 2**26
_FOLLOWS = {"_call"}  # from the other fields of a step


class StoredSteps:
    """Steps and beginnings in a folder, or nowhere."""

    def __init__(self, folder: Path | None, most_bytes: int = MOST_BYTES) -> None:
        self._files = StoredFiles(folder, ".traced", most_bytes)
        self._new: list[tuple[tuple[Any, ...], Any]] = []

    @classmethod
    def of_user(cls) -> StoredSteps:
        folder = folder_of_user()
        return cls(folder and folder / "steps")

    @property
    def are_kept(self) -> bool:
        return self._files.are_kept

    def load(self, key: tuple[Any, ...]) -> Any:
        """What was kept under that key, or None."""
        if not self.are_kept:
            return None
        key = (_code_of_keras(), *key)
        content = self._files.read(key)
        if content is None:
            return None
        try:
            return _Reader(io.BytesIO(content)).load()
        except Exception:  # whatever stands in that file
            self._files.remove(key)
            return None

    def keep(self, key: tuple[Any, ...], thing: Any) -> None:
        """Have it written by the next :meth:`write`."""
        if self.are_kept:
            self._new.append((key, thing))

    def write(self) -> None:
        """Write what is new: it takes some milliseconds each, so do it while others work."""
        new, self._new = self._new, []
        contents: dict[tuple[Any, ...], bytes] = {}
        for key, thing in new:
            content = io.BytesIO()
            try:
                _Writer(content, pickle.HIGHEST_PROTOCOL).dump(thing)
            except Exception:  # each thing that cannot be written down has its own way to say so
                continue
            contents[_code_of_keras(), *key] = content.getvalue()
        if contents:
            self._files.write(contents)


class _Writer(pickle.Pickler):
    """Writes primitives by their names, and of a step what the rest follows from."""

    def persistent_id(self, thing: Any) -> str | None:
        if not isinstance(thing, Primitive):
            return None
        if _primitive(thing.name) is not thing:
            raise pickle.PicklingError(f"nobody else finds the primitive {thing.name}")
        return thing.name

    def reducer_override(self, thing: Any) -> Any:
        if type(thing) is TracedStep:
            if thing.flat is None or thing.flat.has_address or thing.work.calls_host:
                raise pickle.PicklingError("a step whose text does not tell all that it does")
            told = {one.name: getattr(thing, one.name) for one in fields(thing)}
            return _step, ({name: told[name] for name in told.keys() - _FOLLOWS},)
        if isinstance(thing, np.ndarray) and hasattr(thing, "weak_type"):  # a literal of JAX
            if thing.weak_type:
                raise pickle.PicklingError("an array of NumPy is not weakly typed")
            return np.asarray(thing).__reduce__()
        if type(thing).__name__ == "Traceback":  # where somebody wrote an equation of a loop
            return type(None), ()
        return NotImplemented


class _Reader(pickle.Unpickler):
    def persistent_load(self, name: str) -> Primitive:
        primitive = _primitive(name)
        if primitive is None:
            raise pickle.UnpicklingError(f"no primitive {name}")
        return primitive


def _step(told: dict[str, Any]) -> TracedStep:
    flat, result = told["flat"], jax.tree.structure(told["result_like"])
    return TracedStep(_call=as_step(flat, result), **told)


def _primitive(name: str) -> Primitive | None:
    return _primitives().get(name)


@functools.cache
def _primitives() -> dict[str, Primitive]:
    """Those that JAX lists, by their names, and two that its public functions use."""
    keys = jax.make_jaxpr(lambda bits: jax.random.key_data(jax.random.wrap_key_data(bits)))
    shown = [value for module in (primitives, jax.lax) for value in vars(module).values()]
    shown += [equation.primitive for equation in _equations(keys(np.zeros(2, "uint32")))]
    return {one.name: one for one in shown if isinstance(one, Primitive)}


def _equations(program: Any) -> Iterator[Any]:
    for equation in program.eqns:
        yield equation
        for value in equation.params.values():
            if hasattr(value, "eqns"):
                yield from _equations(value)


@functools.cache
def _code_of_keras() -> str:
    """Tells whether somebody has changed it, without reading it all."""
    facts = [(keras.__version__, keras.backend.backend())]
    ahead = [os.path.dirname(keras.__file__)]
    while ahead:
        for entry in os.scandir(ahead.pop()):
            if entry.is_dir():
                ahead.append(entry.path)
            elif entry.name.endswith(".py"):
                about = entry.stat()
                facts.append((entry.path, f"{about.st_size} {about.st_mtime_ns}"))
    return hashlib.sha256(repr(sorted(facts)).encode()).hexdigest()
