"""Structures that one program can serve, and that program."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..batching import Batching, Steps
from ..programs import TracedStep
from ..recent import keep
from ..structures import Structure
from .flat import NotWoven
from .places import AS_IT_IS, Place
from .woven_steps import WovenSteps, flat_of

FAMILIES_KEPT = 256


@dataclass(frozen=True, eq=False)
class Family:
    """One structure for fits of several, and the place of each in it, by its key."""

    structure: Structure
    places: Mapping[str, Place]
    members: tuple[Structure, ...]

    def has_room_for(self, weights: Sequence[Any]) -> bool:
        """Whether a model of this form with weights of these shapes would not make it larger."""
        return self._any_place.has_room_for(weights)

    @property
    def bytes_to_predict(self) -> int:
        """What the values of one model take, without those of its optimizer."""
        return self._any_place.bytes_to_predict

    @property
    def _any_place(self) -> Place:
        """What all places have alike is the room in the family."""
        return next(iter(self.places.values()))

    @classmethod
    def of_one(cls, structure: Structure) -> Family:
        """A structure by itself, just as it was traced."""
        return cls(structure, {structure.key: AS_IT_IS}, (structure,))


class Families:
    """The families that were woven before, by their structures.

    Structures with ``one_step`` may have batches of other sizes, and get one step for whole and for
    short batches.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, Family | None] = OrderedDict()

    def clear(self) -> None:
        self._known.clear()

    def of(self, structures: Sequence[Structure], one_step: bool = False) -> Family | None:
        """The family of these structures; None where they have no exact program in common."""
        distinct = {structure.key: structure for structure in structures}
        return self._of([distinct[key] for key in sorted(distinct)], one_step)

    def with_others(
        self, structures: Sequence[Structure], may_serve: Callable[[Family], bool]
    ) -> Iterator[Family]:
        """Of the families that may serve them, the latest first, with these structures in them."""
        wanted = frame(structures[0], one_step=True)
        for family in reversed(list(self._known.values())):
            if family is None or not may_serve(family):
                continue
            new = {one.key: one for one in structures if one.key not in family.places}
            if not new:
                yield family
            elif frame(family.members[0], one_step=True) == wanted:
                more = self._of([*family.members, *new.values()], one_step=True)
                if more is not None and may_serve(more):
                    yield more

    def _of(self, structures: Sequence[Structure], one_step: bool) -> Family | None:
        key = (one_step, *(structure.key for structure in structures))
        is_new = key not in self._known
        family = _family_or_none(structures, one_step) if is_new else self._known[key]
        keep(self._known, key, family, FAMILIES_KEPT)
        return family


def _family_or_none(structures: Sequence[Structure], one_step: bool) -> Family | None:
    try:
        return family_of(structures, one_step)
    except NotWoven:
        return None


def family_of(structures: Sequence[Structure], one_step: bool = False) -> Family:
    """The family of these structures.

    Raises
    ------
    NotWoven
        Where they have no program in common that is exact.
    """
    first = structures[0]
    if any(frame(one, one_step) != frame(first, one_step) for one in structures):
        raise NotWoven("other batches, metrics or logs")
    weaver = WovenSteps([_traced(one.train) for one in structures])
    make = weaver.one_step if one_step else weaver.steps
    train, test = make([_traced(one.train) for one in structures]), None
    if first.test is not None:
        test = make([_traced(one.test) for one in structures if one.test])
    begin = [(value.shape, value.tobytes()) for value in first.no_metrics]
    text = str((train.key, test and test.key, begin, one_step))
    merged = Structure(
        hashlib.sha256(text.encode()).hexdigest(),
        train,
        test,
        first.no_metrics,
        first.metrics,
        all(one.steady for one in structures),
    )
    return Family(merged, weaver.places(structures), tuple(structures))


def can_be_woven(structure: Structure) -> bool:
    """Whether its steps can be looked into and mapped, and are rounded where the trace says."""
    return not any(
        step.flat is None or step.work.calls_host or step.work.halves or step.work.one_by_one
        for step in _all_steps(structure)
        if step
    )


def skeleton(structure: Structure) -> Hashable:
    """Equal for structures that differ in scalars alone."""
    programs = (flat_of(step).skeleton if step else None for step in _all_steps(structure))
    return frame(structure), *programs


def frame(structure: Structure, one_step: bool = False) -> Hashable:
    """What all of a family have in common: batches, logs, and how metrics begin."""
    steps = _all_steps(structure)
    begin = tuple((value.shape, value.tobytes()) for value in structure.no_metrics)
    if one_step:
        pairs = (steps[:2], steps[2:])
        frames = (next((one.frame for one in pair if one), None) for pair in pairs)
        return structure.test is None, begin, *frames
    return begin, *((step.frame, step.n_rows) if step else None for step in steps)


def _all_steps(structure: Structure) -> list[TracedStep | None]:
    batchings = [structure.train, *([structure.test] if structure.test else [])]
    return [step for one in map(_traced, batchings) for step in (one.whole, one.rest)]


def _traced(batching: Batching) -> Steps:
    assert isinstance(batching, Steps)
    return batching
