"""The words of a likeness as text that means the same in every process.

There, a class is told by its name and a function by its code, in place of where they are. So only
classes that come with Keras, with what it stands on or with Python are told. That one of Keras is
what its name says holds as long as nobody has put other functions into it, which is looked at
whenever the text is used. What nobody looks at are functions of Keras's modules, and JAX: who
replaces those while a program runs has to set ``AMALTHEA_CACHE=0``.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import operator
import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

_PLAIN = (str, int, float, bool, bytes, complex, type(None), type(...))
_KNOWN_EVERYWHERE = frozenset(
    "keras jax jaxlib numpy ml_dtypes optree builtins collections enum functools inspect types "
    "weakref _thread threading".split()
)


class _OnlyHere(Exception):
    """A word that means nothing in another process."""


class Telling:
    """What tells some words in another process: a ``digest``, or None where nothing does."""

    def __init__(self, words: Iterable[Any]) -> None:
        spelling = _Spelling()
        try:
            text = "\n".join(map(spelling.text, words))
            self.digest: str | None = hashlib.sha256(text.encode()).hexdigest()
        except _OnlyHere:
            self.digest = None
        self._classes = spelling.classes

    def holds(self) -> bool:
        """Whether the classes that were met still do the same."""
        return all(_is_as_before(kind, before) for kind, before in self._classes.items())


def _is_as_before(kind: type, before: list[Any]) -> bool:
    now = vars(kind).values()
    return len(now) == len(before) and all(map(operator.is_, now, before))


class Sign:
    """A word that stands for itself."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = f"<{name}>"


class _Spelling:
    """``classes`` are those of Keras that were met, and what was in them."""

    def __init__(self) -> None:
        self.classes: dict[type, list[Any]] = {}

    def text(self, word: Any) -> str:
        kind = type(word)
        if kind in _PLAIN:
            return repr(word)
        if kind is tuple:
            return "(" + " ".join(map(self.text, word)) + ")"
        if isinstance(word, type):
            return self._of_class(word)
        spell = _HOW.get(kind)
        if spell is not None:
            return spell(word)
        if isinstance(word, types.CodeType):
            return self._of_code(word)
        if isinstance(word, np.dtype):
            return f"dtype {word!r}"
        if isinstance(word, np.generic):
            return f"{word.dtype!r} {word.tobytes()!r}"
        if isinstance(word, enum.Enum):
            return f"{self._of_class(kind)} {word.name}"
        raise _OnlyHere

    def _of_code(self, code: types.CodeType) -> str:
        constants = [
            sorted(map(self.text, one)) if isinstance(one, frozenset) else self.text(one)
            for one in code.co_consts
        ]
        told = code.co_qualname, code.co_code, code.co_names, code.co_varnames, code.co_freevars
        return f"{told!r} {code.co_flags} {constants!r}"

    def _of_class(self, kind: type) -> str:
        home = kind.__module__.partition(".")[0]
        if home not in _KNOWN_EVERYWHERE or "<locals>" in kind.__qualname__:
            raise _OnlyHere
        if home == "keras" and kind not in self.classes:
            for one in kind.__mro__:
                if one.__module__.startswith("keras."):
                    self.classes[one] = list(vars(one).values())
                    if not _is_as_written(one):
                        raise _OnlyHere
        return f"{kind.__module__}.{kind.__qualname__}"


def _is_as_written(kind: type) -> bool:
    """Whether what a class of Keras does is Keras's; registries, enums and tuples add the rest."""
    if issubclass(kind, tuple | enum.Enum):
        return True
    return all(
        _is_of_keras(value)
        for name, value in vars(kind).items()
        if name in _DOES or not name.startswith("__")
    )


def _is_of_keras(value: Any) -> bool:
    if isinstance(value, property):
        return all(_is_of_keras(one) for one in (value.fget, value.fset) if one)
    for wrapping, name in _WRAPPINGS.items():
        if isinstance(value, wrapping):
            return _is_of_keras(getattr(value, name))
    if isinstance(value, types.FunctionType):
        home: str = value.__globals__.get("__name__", "")
        return home.startswith("keras.")
    does = callable(value) or hasattr(type(value), "__get__")
    return not does or isinstance(value, _OF_PYTHON)


_DOES = {"__init__", "__call__"}
_WRAPPINGS: dict[type, str] = {
    classmethod: "__func__",
    staticmethod: "__func__",
    functools.partial: "func",
    functools.partialmethod: "func",
    functools.cached_property: "func",
}
_OF_PYTHON = (
    type,
    types.BuiltinFunctionType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
)
_HOW: dict[type, Callable[[Any], str]] = {
    Sign: lambda sign: sign.name,
    types.ModuleType: lambda module: f"module {module.__name__}",
    types.BuiltinFunctionType: lambda function: f"{function.__module__}.{function.__qualname__}",
}
