"""When two models cannot but trace to the same program.

Tracing a step takes 10 to 30 ms, most of what a small fit costs, so it is not done again for a
model that is built just like one that was traced before. A likeness spells out everything that
tracing can read from a model: the type of every object in it and the value of every attribute,
in one order. It leaves out the values of variables that a step takes as arguments, and which
initialisers they came from: those are spent. Names are in it.

Code can read what no attribute tells, so only objects and functions of Keras itself are spelled
out. A model with anything else in it (a layer, loss or metric of one's own) has no likeness, and
is traced each time.

Some attributes of Keras's objects are but numbers to compute with (:mod:`.keras_numbers`), such as
the rate of a dropout; others are sizes of arrays (:mod:`.keras_sizes`), such as the units of a
dense layer. Models that differ in these alone have one *form*.
"""

from __future__ import annotations

import functools
import inspect
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import jax
import keras
import numpy as np

from .keras_numbers import NUMBERS, Between, is_between
from .keras_sizes import computes_the_same, names_of_sizes
from .told import Sign, Telling

_PLAIN = frozenset({str, int, float, bool, bytes, complex, type(None)})
_AS_IT_IS = (type, types.ModuleType, types.BuiltinFunctionType, np.dtype)
_LOCKS = (type(threading.Lock()), type(threading.RLock()))
# Kept for serialisation, and bookkeeping that holds addresses.
_NOT_READ = frozenset(
    {
        *("_auto_config", "_compile_config", "stored_ids", "_nodes"),
        *("_trainable_variables_indices", "_exclude_from_weight_decay_cache"),
    }
)
# Of a variable: its value, and how it began.
_OF_A_VARIABLE = frozenset({"_value", "_initializer", "_shape", "_dtype"})
# What fit and predict leave on a model.
_LEFT_BY_FIT = frozenset(
    {
        *("history", "stop_training", "train_function", "test_function", "predict_function"),
        *("_jax_state", "_jax_state_synced", "_eval_epoch_iterator"),
    }
)
_OF_KERAS = ("keras.", "jax.", "jax._src")
_AGAIN, _NUMBER, _SIZE = Sign("again"), Sign("number"), Sign("size")
_OF_THE_MODEL = frozenset({0, 1, 2})  # groups of variables: those of metrics have fixed sizes
_MOST_NUMBERS = 1024  # of an array that is spelled out


class _Unknown(Exception):
    """Something in a model whose behaviour its attributes do not tell."""


class Likeness:
    """Some thousand words, which are hashed once, and the numbers and sizes that go with them."""

    __slots__ = ("_hash", "_words", "numbers", "sizes")

    def __init__(
        self, words: tuple[Any, ...], numbers: tuple[float, ...], sizes: tuple[int, ...] = ()
    ) -> None:
        self._words, self._hash = words, hash(words)
        self.numbers, self.sizes = numbers, sizes

    def form(self) -> Likeness:
        """Equal for models that differ in their numbers and sizes alone."""
        form = object.__new__(Likeness)
        form._words, form._hash = self._words, self._hash
        form.numbers, form.sizes = (), ()
        return form

    def telling(self) -> Telling:
        """What tells the form in other processes."""
        return Telling(self._words)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Likeness):
            return NotImplemented
        same = self._hash == other._hash and self.numbers == other.numbers
        return same and self.sizes == other.sizes and self._words == other._words


def likeness(model: keras.Model, variables: list[list[keras.Variable]]) -> Likeness | None:
    """Equal for models that trace to the same steps; None when that cannot be told.

    ``variables`` are the groups of variables whose values a step takes as arguments.
    """
    spelling = _Spelling(variables)
    try:
        spelling.add(model)
    except _Unknown:
        return None
    words, sizes = spelling.words, tuple(spelling.sizes)
    if not spelling.same_for_all_sizes:
        words.append(sizes)
        sizes = ()
    return Likeness(tuple(words), tuple(spelling.numbers), sizes)


class _Spelling:
    def __init__(self, variables: list[list[keras.Variable]]) -> None:
        self.words: list[Any] = []
        self.numbers: list[float] = []
        self.sizes: list[int] = []
        self.same_for_all_sizes = True
        self._argument: dict[int, tuple[Any, int]] = {
            id(variable): (group, number)
            for group, members in enumerate(variables)
            for number, variable in enumerate(members)
        }
        self._metrics_around = 0
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # an address must not be used again meanwhile

    def add(self, thing: Any) -> None:
        if type(thing) in _PLAIN:
            self.words += (type(thing), _told_apart(thing))
            return
        if type(thing) is keras.DTypePolicy:  # as good as another of its name
            self.words += (keras.DTypePolicy, thing.name)
            return
        if id(thing) in self._seen:
            self.words += (_AGAIN, self._seen[id(thing)])
            return
        self._seen[id(thing)] = len(self._seen)
        self._alive.append(thing)
        kind = type(thing)
        spell = _HOW.get(kind)
        if spell is None:
            spell = _how(thing)
            if kind.__module__.startswith(_KNOWN_TO_STAY):
                _HOW[kind] = spell
        spell(self, thing)

    def _named(self, names_and_values: Iterable[tuple[str, Any]]) -> None:
        words = self.words
        for name, value in names_and_values:
            if type(value) in _PLAIN:
                words += (name, type(value), _told_apart(value))
            else:
                words.append(name)
                self.add(value)

    def _spell_mapping(self, thing: Mapping[Any, Any]) -> None:
        self.words += (type(thing), len(thing))
        for name, value in thing.items():
            self.add(name)
            self.add(value)

    def _spell_sequence(self, thing: Sequence[Any]) -> None:
        self.words += (type(thing), len(thing))
        for value in thing:
            self.add(value)

    def _spell_set(self, thing: Set[Any]) -> None:
        if not all(type(value) is str for value in thing):
            raise _Unknown
        self.words.append((type(thing), *sorted(thing)))

    def _spell_method(self, thing: types.MethodType) -> None:
        self.words.append(type(thing))
        self.add(thing.__func__)
        self.add(thing.__self__)

    def _spell_partial(self, thing: functools.partial[Any]) -> None:
        self.words.append(type(thing))
        for part in (thing.func, thing.args, thing.keywords):
            self.add(part)

    def _spell_signature(self, thing: inspect.Signature) -> None:
        for parameter in thing.parameters.values():
            self.words.append((parameter.name, parameter.kind))
            self.add(parameter.default)

    def _spell_array(self, thing: np.ndarray | np.generic) -> None:
        if thing.dtype == object:
            raise _Unknown
        self.words.append((type(thing), thing.dtype, thing.shape, thing.tobytes()))

    def _spell_device_array(self, thing: jax.Array) -> None:
        if not _is_some_numbers(thing):
            raise _Unknown
        about = type(thing), thing.dtype, thing.weak_type, thing.shape
        self.words.append((*about, np.asarray(thing).tobytes()))

    def _spell_as_it_is(self, thing: Any) -> None:
        self.words.append(thing)

    def _spell_reference(self, thing: weakref.ref[Any]) -> None:
        self.add(thing())

    def _spell_lock(self, thing: Any) -> None:
        pass

    def _spell_variable(self, variable: keras.Variable) -> None:
        where = self._argument.get(id(variable))
        if where is None:
            raise _Unknown  # its value would be a constant of the program
        shape = tuple(variable.shape)
        if where[0] in _OF_THE_MODEL:
            self.sizes += shape
            shape = (_SIZE, len(shape))
        self.words += (type(variable), where, shape, variable.dtype)
        self._named((n, v) for n, v in vars(variable).items() if n not in _OF_A_VARIABLE)

    def _spell_function(self, function: types.FunctionType) -> None:
        home = function.__globals__.get("__name__", "")  # a wrapper may copy another `__module__`
        if not home.startswith(_OF_KERAS):
            raise _Unknown
        self.words.append(function.__code__)
        self.add(function.__defaults__)
        self.add(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            self.add(cell.cell_contents)

    def _spell_object(self, thing: Any) -> None:
        if isinstance(thing, keras.initializers.Initializer):
            self.words.append(keras.initializers.Initializer)  # it is spent, whichever it was
            return
        self.words.append(type(thing))
        self.same_for_all_sizes &= computes_the_same(thing)
        is_model = isinstance(thing, keras.Model)
        left_out = _LEFT_BY_FIT | _NOT_READ if is_model else _NOT_READ
        read: Iterator[tuple[str, Any]] = (
            (name, value) for name, value in vars(thing).items() if name not in left_out
        )
        numbers, sizes = NUMBERS.get(type(thing)), names_of_sizes(thing)
        if numbers:
            read = self._without_numbers(numbers, read)
        if sizes:
            read = self._without_sizes(sizes, read)
        self._named(read)
        if is_model:  # a loss and metrics may look at the sizes of what comes out
            outputs = getattr(thing, "outputs", None) or ()
            self.words.append(tuple(tuple(output.shape) for output in outputs))

    def _spell_metric(self, thing: keras.Metric) -> None:
        """A metric that was given to ``compile`` stands in one that is not built until a fit.

        From then on its variables are arguments, and begin as its settings tell.
        """
        if self._metrics_around:
            for variable in thing.variables:
                self._argument.setdefault(id(variable), ("of a metric", len(self._argument)))
        self._metrics_around += 1
        self._spell_object(thing)
        self._metrics_around -= 1

    def _without_numbers(
        self, numbers: dict[str, Between], read: Iterable[tuple[str, Any]]
    ) -> Iterator[tuple[str, Any]]:
        """Keep the numbers apart, and pass on the rest."""
        for name, value in read:
            if name in numbers and type(value) is float and is_between(value, numbers[name]):
                self.words += (name, _NUMBER)
                self.numbers.append(value)
            else:
                yield name, value

    def _without_sizes(
        self, names: Set[str], read: Iterable[tuple[str, Any]]
    ) -> Iterator[tuple[str, Any]]:
        """The same with sizes."""
        for name, value in read:
            if name in names:
                self.words.append(name)
                self._spell_sizes(value)
            else:
                yield name, value

    def _spell_sizes(self, thing: Any) -> None:
        """One size, or several in lists and mappings."""
        if type(thing) is int:
            self.words.append(_SIZE)
            self.sizes.append(thing)
        elif isinstance(thing, Mapping):
            self.words += (type(thing), len(thing))
            for name, value in thing.items():
                self.add(name)
                self._spell_sizes(value)
        elif isinstance(thing, list | tuple):
            self.words += (type(thing), len(thing))
            for value in thing:
                self._spell_sizes(value)
        else:
            self.add(thing)


_WAYS: tuple[tuple[Any, Callable[[_Spelling, Any], None]], ...] = (
    (Mapping, _Spelling._spell_mapping),
    ((list, tuple), _Spelling._spell_sequence),
    ((set, frozenset), _Spelling._spell_set),
    (keras.Variable, _Spelling._spell_variable),
    (types.FunctionType, _Spelling._spell_function),
    (types.MethodType, _Spelling._spell_method),
    (functools.partial, _Spelling._spell_partial),
    (inspect.Signature, _Spelling._spell_signature),
    ((np.ndarray, np.generic), _Spelling._spell_array),
    (jax.Array, _Spelling._spell_device_array),
    (_AS_IT_IS, _Spelling._spell_as_it_is),
    (weakref.ref, _Spelling._spell_reference),
    (_LOCKS, _Spelling._spell_lock),
)
_HOW: dict[type, Callable[[_Spelling, Any], None]] = {}  # of the types seen before
_KNOWN_TO_STAY = (
    "keras.",
    "_thread",
    "builtins",
    "functools",
    "types",
    "inspect",
    "numpy",
    "weakref",
)


def _how(thing: Any) -> Callable[[_Spelling, Any], None]:
    """How things of this type are spelled."""
    for kind, spell in _WAYS:
        if isinstance(thing, kind):
            return spell
    if type(thing).__module__.startswith("keras.") and hasattr(thing, "__dict__"):
        return (
            _Spelling._spell_metric if isinstance(thing, keras.Metric) else _Spelling._spell_object
        )
    raise _Unknown


def _told_apart(plain: Any) -> Any:
    """-0.0 and 0.0 are equal, as are 1, 1.0 and True, whose types are words of their own."""
    return str(plain) if type(plain) is float and not plain else plain


def _is_some_numbers(array: jax.Array) -> bool:
    """Such as the factor of a regulariser or the means of columns: constants of the program."""
    traced = isinstance(array, jax.core.Tracer)
    numeric = jax.dtypes.issubdtype(array.dtype, np.number)
    return not traced and numeric and array.size <= _MOST_NUMBERS
