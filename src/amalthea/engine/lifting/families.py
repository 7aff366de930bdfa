"""Structures that one program can serve, and that program."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..programs import TracedStep
from ..steps import State
from ..structures import Steps, Structure
from .flat import Flat
from .graph import Graph, Numbers
from .places import AS_IT_IS, InFamily, Place, slots
from .weaving import NotWoven, Slot, weave

FAMILIES_KEPT = 256
_GROUPS = ("trainable", "non_trainable", "optimizer")


@dataclass(frozen=True, eq=False)
class Family:
    """One structure for fits of several, and the place of each in it, by its key."""

    structure: Structure
    places: Mapping[str, Place]
    is_plain: bool = True  # they differ in scalars alone

    @classmethod
    def of_one(cls, structure: Structure) -> Family:
        """A structure by itself, just as it was traced."""
        return cls(structure, {structure.key: AS_IT_IS})


class Families:
    """The families that were woven before, by their structures."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, ...], Family | None] = OrderedDict()

    def clear(self) -> None:
        self._known.clear()

    def of(self, structures: Sequence[Structure]) -> Family | None:
        """The family of these structures; None where they have no exact program in common."""
        distinct = {structure.key: structure for structure in structures}
        keys = tuple(sorted(distinct))
        if keys not in self._known:
            self._known[keys] = _family_or_none([distinct[key] for key in keys])
        self._known.move_to_end(keys)
        while len(self._known) > FAMILIES_KEPT:
            self._known.popitem(last=False)
        return self._known[keys]


def _family_or_none(structures: Sequence[Structure]) -> Family | None:
    try:
        return family_of(structures)
    except NotWoven:
        return None


def skeleton(structure: Structure) -> Hashable:
    """Equal for structures of a family that differ in scalars alone."""
    steps = [structure.train, *([structure.test] if structure.test else [])]
    traced = [step for one in steps for step in (one.whole, one.rest)]
    return frame(structure), *(step.flat.skeleton if step else None for step in traced)


def family_of(structures: Sequence[Structure]) -> Family:
    """The family of these structures.

    Raises
    ------
    NotWoven
        Where they have no program in common that is exact.
    """
    first = structures[0]
    if any(frame(one) != frame(first) for one in structures):
        raise NotWoven("other batches, metrics or logs")
    numbers = Numbers(len(structures))
    layout = _Layout([_state_like(one) for one in structures])
    train, test = _woven([one.train for one in structures], layout, numbers), None
    if first.test is not None:
        test = _woven([one.test for one in structures if one.test], layout, numbers)
    steady = all(one.steady for one in structures)
    key = hashlib.sha256(str((train.key, test and test.key, first.key)).encode()).hexdigest()
    places = {one.key: layout.place(variant, numbers) for variant, one in enumerate(structures)}
    merged = Structure(key, train, test, first.no_metrics, first.metrics, steady)
    return Family(merged, places, len({skeleton(one) for one in structures}) == 1)


def frame(structure: Structure) -> Hashable:
    """What all of a family have in common: batches, logs, and how metrics begin."""
    steps = [structure.train, *([structure.test] if structure.test else [])]
    traced = [step for one in steps for step in (one.whole, one.rest)]
    return (
        tuple(step.frame if step else None for step in traced),
        tuple((value.shape, value.tobytes()) for value in structure.no_metrics),
    )


def _state_like(structure: Structure) -> State:
    step = structure.train.whole or structure.train.rest
    assert step is not None
    like: State = step.result_like[0]
    return like


class _Layout:
    """The groups of arrays in the states of a family."""

    def __init__(self, states: Sequence[State]) -> None:
        self.states = states
        self.slots = {name: slots([getattr(state, name) for state in states]) for name in _GROUPS}

    def place(self, variant: int, numbers: Numbers) -> Place:
        where, own, room = [], [], []
        for name in _GROUPS:
            arrays = getattr(self.states[variant], name)
            mine = {s.places[variant]: n for n, s in enumerate(self.slots[name])}
            where.append(tuple(mine[place] for place in range(len(arrays))))
            own.append(tuple(tuple(array.shape) for array in arrays))
            room.append(tuple(self._room(name, slot) for slot in self.slots[name]))
        return InFamily(tuple(where), tuple(own), tuple(room), tuple(numbers.of(variant)))

    def _room(self, name: str, slot: Slot) -> tuple[tuple[int, ...], Any]:
        arrays = [
            getattr(state, name)[place]
            for state, place in zip(self.states, slot.places, strict=True)
            if place is not None
        ]
        shape = tuple(max(sizes) for sizes in zip(*(a.shape for a in arrays), strict=True))
        return shape, np.dtype(arrays[0].dtype)


def _woven(steps: Sequence[Steps], layout: _Layout, numbers: Numbers) -> Steps:
    wholes = [one.whole for one in steps if one.whole]
    rests = [one.rest for one in steps if one.rest]
    return Steps(
        _woven_step(wholes, layout, numbers) if wholes else None,
        _woven_step(rests, layout, numbers) if rests else None,
    )


def _woven_step(steps: Sequence[TracedStep], layout: _Layout, numbers: Numbers) -> TracedStep:
    programs = [step.flat for step in steps]
    takes, gives = _arguments(programs, steps, layout)
    graph = Graph(numbers)
    results = weave(programs, takes, gives, graph)
    text = (graph.text(results), numbers.kinds)
    key = hashlib.sha256(str(text).encode()).hexdigest()
    call, work = graph.function(results)
    counts = [len(layout.slots[name]) for name in _GROUPS]
    logs_like = steps[0].result_like[1]
    n_metrics = len(steps[0].result_like[0].metrics)

    def step(state: State, data: Any) -> tuple[State, dict[str, Any]]:
        groups = (state.trainable, state.non_trainable, state.optimizer, state.metrics)
        arrays = [*jax.tree.leaves(list(groups)), *jax.tree.leaves(data)]
        found = call(arrays, state.settings)
        cut = []
        for count in (*counts, n_metrics):
            cut.append(found[:count])
            found = found[count:]
        logs = jax.tree.unflatten(jax.tree.structure(logs_like), found)
        return State(cut[0], cut[1], cut[2], cut[3], state.settings), logs

    return TracedStep(key, work, steps[0].result_like, steps[0].frame, step)


def _arguments(
    programs: Sequence[Flat], steps: Sequence[TracedStep], layout: _Layout
) -> tuple[list[Slot], list[Slot]]:
    """Arguments and results of the programs: the state by groups, then what all have alike."""
    variants = range(len(programs))
    takes: list[Slot] = []
    gives: list[Slot] = []
    offsets = [0] * len(programs)
    for name in _GROUPS:
        for slot in layout.slots[name]:
            places = tuple(
                None if place is None else place + offset
                for place, offset in zip(slot.places, offsets, strict=True)
            )
            gives.append(Slot(places, passes=len(takes)))
            takes.append(Slot(places))
        offsets = [
            offset + len(getattr(layout.states[variant], name))
            for variant, offset in zip(variants, offsets, strict=True)
        ]
    for place in range(len(programs[0].takes) - offsets[0]):
        takes.append(Slot(tuple(offset + place for offset in offsets)))
    for place in range(len(programs[0].gives) - offsets[0]):
        gives.append(Slot(tuple(offset + place for offset in offsets)))
    return takes, gives
