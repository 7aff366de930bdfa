"""What tells, without tracing, that fits have one structure."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, NamedTuple

import keras

from .likeness import Likeness, likeness
from .programs import made_by
from .recent import keep
from .requests import FitRequest, PredictRequest
from .rows import Arrays, Rows, leaves, map_arrays
from .steps import variables_of
from .told import Telling

FORMS_KEPT = 256  # some 30 kB each
_count = itertools.count()


class Alike(NamedTuple):
    """Equal for models that trace to the same steps.

    ``form`` and ``settings`` are equal where their steps differ in scalars and sizes alone.
    """

    form: int
    numbers: tuple[float, ...]
    sizes: tuple[int, ...]
    settings: tuple[Hashable, ...]


class RowsLike(NamedTuple):
    """What a structure depends on of rows: the sizes of their batches, and their shapes."""

    batch_size: int
    has_whole: bool
    rest: int
    shapes: Hashable

    @property
    def sizes(self) -> tuple[int | None, int | None]:
        """Of whole batches and of the last one, where there are such."""
        return self.batch_size if self.has_whole else None, self.rest or None


class FitLike(NamedTuple):
    """Equal for fits that have the same structure."""

    model: Alike
    training: RowsLike
    validation: RowsLike | None

    @property
    def beginning(self) -> tuple[Hashable, ...]:
        """What the values of metrics at the beginning of an epoch depend on."""
        held = self.validation and self.validation.shapes
        model = self.model
        return model.form, model.sizes, model.settings, self.training.shapes, held


Seen = dict[int, tuple[keras.Model, Alike | None]]  # the models of one call, by address


class Forms:
    """Numbers the forms of models that it has met."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[Likeness, int] = OrderedDict()
        self._told: OrderedDict[int, Telling] = OrderedDict()

    def clear(self) -> None:
        self._numbers.clear()
        self._told.clear()

    def told(self, number: int) -> str | None:
        """What tells that form in other processes; None where nothing does."""
        telling = self._told.get(number)
        if telling is None or not telling.holds():
            forms = [form for form, other in self._numbers.items() if other == number]
            if not forms:
                return None
            telling = forms[0].telling()
            keep(self._told, number, telling, FORMS_KEPT)
        return telling.digest

    def of_model(self, request: FitRequest | PredictRequest, seen: Seen) -> Alike | None:
        """What is known of a request's model; None when nothing can be."""
        model = request.model
        if id(model) not in seen:
            spelled = request.likeness or likeness(model, variables_of(model))
            seen[id(model)] = model, None if spelled is None else self._alike(spelled)
        return seen[id(model)][1]

    def of_fit(self, request: FitRequest, seen: Seen) -> FitLike | None:
        model, held = self.of_model(request, seen), request.validation
        if model is None:
            return None
        training = rows_like(request.training, request.batch_size)
        return FitLike(
            model, training, rows_like(held, request.validation_batch_size) if held else None
        )

    def _alike(self, spelled: Likeness) -> Alike:
        form = spelled.form()
        number = self._numbers.get(form)
        number = next(_count) if number is None else number
        keep(self._numbers, form, number, FORMS_KEPT)
        return Alike(number, spelled.numbers, spelled.sizes, settings())


def rows_like(rows: Rows, batch_size: int) -> RowsLike:
    shapes = tuple(shapes_of(part) for part in (rows.x, rows.y, rows.sample_weight))
    return RowsLike(batch_size, len(rows) >= batch_size, len(rows) % batch_size, shapes)


def shapes_of(arrays: Arrays) -> Hashable:
    structure = str(map_arrays(lambda _: None, arrays))
    return structure, *((array.shape[1:], str(array.dtype)) for array in leaves(arrays))


def settings() -> tuple[Any, ...]:
    """Settings of Keras and JAX that a trace reads, and no model tells."""
    config = keras.config
    return (
        config.floatx(),
        config.epsilon(),
        config.image_data_format(),
        config.is_flash_attention_enabled(),
        str(made_by()),
    )
