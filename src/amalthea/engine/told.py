"""The words of a likeness as text that means the same in every process.

There, a class is told by its name and a function by its code, in place of where they are. That a
class of Keras is what its name says holds as long as nobody has put other functions into it, which
is looked at.
"""

from __future__ import annotations

import enum
import hashlib
import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

_PLAIN = (str, int, float, bool, bytes, complex, type(None), type(...))


class _OnlyHere(Exception):
    """A word that means nothing in another process."""


def told(words: Iterable[Any]) -> str | None:
    """A digest of the words; None where they mean something in this process alone."""
    try:
        text = "\n".join(map(_text, words))
    except _OnlyHere:
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def _text(word: Any) -> str:
    kind = type(word)
    if kind in _PLAIN:
        return repr(word)
    spell = _HOW.get(kind)
    if spell is not None:
        return spell(word)
    if isinstance(word, type):
        return _of_class(word)
    if isinstance(word, np.dtype):
        return f"dtype {word!r}"
    if isinstance(word, np.generic):
        return f"{word.dtype!r} {word.tobytes()!r}"
    if isinstance(word, enum.Enum):
        return str(word)
    if isinstance(word, Sign):
        return word.name
    raise _OnlyHere


class Sign:
    """A word that stands for itself."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = f"<{name}>"


def _of_tuple(words: tuple[Any, ...]) -> str:
    return "(" + " ".join(map(_text, words)) + ")"


def _of_code(code: types.CodeType) -> str:
    constants = [
        sorted(map(_text, constant)) if isinstance(constant, frozenset) else _text(constant)
        for constant in code.co_consts
    ]
    told = code.co_qualname, code.co_code, code.co_names, code.co_varnames, code.co_freevars
    return f"{told!r} {code.co_flags} {constants!r}"


def _of_class(kind: type) -> str:
    if "<locals>" in kind.__qualname__ or not all(map(_is_as_written, kind.__mro__)):
        raise _OnlyHere
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_as_written(kind: type) -> bool:
    """Whether what a class of Keras does is Keras's; registries, enums and tuples add the rest."""
    if not kind.__module__.startswith("keras.") or issubclass(kind, tuple | enum.Enum):
        return True
    return all(
        _is_of_keras(value)
        for name, value in vars(kind).items()
        if name in _DOES or not name.startswith("__")
    )


def _is_of_keras(value: Any) -> bool:
    if isinstance(value, property):
        return all(_is_of_keras(one) for one in (value.fget, value.fset) if one)
    function = getattr(value, "__func__", value)
    if isinstance(function, types.FunctionType):
        home: str = function.__globals__.get("__name__", "")
        return home.startswith("keras.")
    return not callable(function) or type(function).__module__ in _OF_PYTHON


_DOES = {"__init__", "__call__"}
_OF_PYTHON = {"builtins", "functools", "types", "operator"}
_HOW: dict[type, Callable[[Any], str]] = {
    tuple: _of_tuple,
    types.CodeType: _of_code,
    types.ModuleType: lambda module: f"module {module.__name__}",
    types.BuiltinFunctionType: lambda function: f"{function.__module__}.{function.__qualname__}",
}
