"""Compiled programs, shared by all fits whose traced program is the same.

Whether two models are the same to the compiler is judged by the program that they trace to: its
text, the constants in it, and the form of what it takes and returns. Names do not enter it, and
whatever a layer does that its config does not tell, does.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

PROGRAMS_KEPT = 128
# Settings of JAX that a program is compiled by, and that its text does not show.
_COMPILED_BY = ("jax_default_matmul_precision", "jax_default_device", "jax_platforms")


@dataclass(frozen=True)
class Traced:
    """A traced function: its key, its text, and the way to compile it."""

    key: str
    text: str
    lower: Callable[[], Any]


def trace(function: Callable[..., Any], *arguments: Any) -> Traced:
    traced = jax.jit(function).trace(*arguments)
    text = str(traced.jaxpr)
    digest = hashlib.sha256(text.encode())
    digest.update(str([getattr(jax.config, name) for name in _COMPILED_BY]).encode())
    for structure in (arguments, traced.out_info):
        digest.update(str(jax.tree.structure(structure)).encode())
    for constant in _constants(traced.jaxpr):
        array = np.asarray(constant)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return Traced(digest.hexdigest(), text, traced.lower)


class Programs:
    """Compiled programs by key; the least recently used goes when there are too many."""

    def __init__(self, kept: int = PROGRAMS_KEPT) -> None:
        self._kept = kept
        self._compiled: OrderedDict[str, Any] = OrderedDict()
        self.compilations = 0

    def __call__(self, traced: Traced) -> Any:
        if traced.key in self._compiled:
            self._compiled.move_to_end(traced.key)
            return self._compiled[traced.key]
        program = traced.lower().compile()
        self.compilations += 1
        self._compiled[traced.key] = program
        while len(self._compiled) > self._kept:
            self._compiled.popitem(last=False)
        return program


def _constants(program: Any) -> Iterator[Any]:
    """Constants of a program and of the programs within it."""
    yield from getattr(program, "consts", ())
    for equation in getattr(program, "jaxpr", program).eqns:
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                if hasattr(part, "eqns") or hasattr(part, "jaxpr"):
                    yield from _constants(part)
