"""One step for the models of a family, woven from the steps of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import numpy as np

from ..batching import OneStep, Steps, replace_settings
from ..programs import TracedStep, made_by
from ..steps import Address, State
from ..structures import Structure
from .flat import Flat, NotWoven
from .graph import Graph, Numbers, Value
from .places import GROUPS, InFamily, Place, slots
from .weaving import Slot, weave


def flat_of(step: TracedStep) -> Flat:
    if step.flat is None:
        raise NotWoven("a step that cannot be written out")
    return step.flat


class WovenSteps:
    """The steps of a family, one after the other, and what each model's settings are for them."""

    def __init__(self, steps: Sequence[Steps]) -> None:
        self._states: list[State] = [one.all[0].result_like[0] for one in steps]
        self._slots = {
            name: slots([getattr(state, name) for state in self._states]) for name in GROUPS
        }
        self._settings: list[list[np.ndarray]] = [[] for _ in steps]

    def steps(self, all_steps: Sequence[Steps]) -> Steps:
        """A step for whole batches and one for the short one, each with settings of its own."""
        return Steps(
            self._settled([one.whole for one in all_steps]),
            self._settled([one.rest for one in all_steps]),
        )

    def one_step(self, all_steps: Sequence[Steps]) -> OneStep:
        """One step for all batches."""
        variants: list[tuple[int, TracedStep]] = []
        known: dict[Hashable, int] = {}  # structures that differ in their batches share steps

        def variant_of(n: int, traced: TracedStep) -> int:
            key = (traced.key, self._where(n))
            if key not in known:
                known[key] = len(variants)
                variants.append((n, traced))
            return known[key]

        asked = [
            [variant_of(n, traced) for traced in (one.all[0], one.all[-1])]
            for n, one in enumerate(all_steps)
        ]
        step, numbers = self._woven(variants)
        first = len(self._settings[0])
        for own, its_variants in zip(self._settings, asked, strict=True):
            for variant in its_variants:
                own += numbers.of(variant)
        size = max(traced.n_rows for _, traced in variants)
        return OneStep(step, size, first, len(numbers.kinds))

    def places(self, structures: Sequence[Structure]) -> dict[str, Place]:
        return {one.key: self._place(n) for n, one in enumerate(structures)}

    def _where(self, n: int) -> Hashable:
        """Where the state of a model stands in that of the family."""
        return tuple(slot.places[n] for name in GROUPS for slot in self._slots[name])

    def _settled(self, steps: Sequence[TracedStep | None]) -> TracedStep | None:
        variants = [(n, step) for n, step in enumerate(steps) if step is not None]
        if not variants:
            return None
        step, numbers = self._woven(variants)
        first = len(self._settings[0])
        for variant, (n, _) in enumerate(variants):
            self._settings[n] += numbers.of(variant)
        end = first + len(numbers.kinds)

        def with_its_settings(state: State, data: Any) -> Any:
            after, logs = step(replace_settings(state, state.settings[first:end]), data)
            return replace_settings(after, state.settings), logs

        key = f"{step.key} {first}"
        return TracedStep(
            key, step.work, step.result_like, step.frame, step.n_rows, with_its_settings
        )

    def _woven(self, variants: Sequence[tuple[int, TracedStep]]) -> tuple[TracedStep, Numbers]:
        steps = [step for _, step in variants]
        takes, gives = self._arguments(variants)
        numbers = Numbers(len(variants))
        graph = Graph(numbers)
        results = weave([flat_of(step) for step in steps], takes, gives, graph)
        text = str((graph.text(results), numbers.kinds, made_by()))
        key = hashlib.sha256(text.encode()).hexdigest()
        call, work = graph.function(results)
        like = steps[0].result_like
        counts = [*(len(self._slots[name]) for name in GROUPS), len(like[0].metrics)]
        step = _as_step(call, counts, jax.tree.structure(like[1]))
        size = max(one.n_rows for one in steps)
        addresses = [(name, n) for name in GROUPS for n in range(len(self._slots[name]))]
        alone = _by_themselves(graph, results, addresses)
        of_rows = steps[0].frame
        return TracedStep(key, work, like, of_rows, size, step, by_themselves=alone), numbers

    def _arguments(
        self, variants: Sequence[tuple[int, TracedStep]]
    ) -> tuple[list[Slot], list[Slot]]:
        """Arguments and results: the state by groups, then what all have alike."""
        takes: list[Slot] = []
        gives: list[Slot] = []
        offsets = [0] * len(variants)
        for name in GROUPS:
            for slot in self._slots[name]:
                own = [slot.places[n] for n, _ in variants]
                if all(place is None for place in own):
                    raise NotWoven("a step without a part of the state")
                pairs = zip(own, offsets, strict=True)
                places = tuple(None if place is None else place + o for place, o in pairs)
                weights = name == "trainable"
                gives.append(Slot(places, passes=len(takes), zero_behind=weights))
                takes.append(Slot(places, zero_behind=weights))
            offsets = [
                offset + len(getattr(self._states[n], name))
                for offset, (n, _) in zip(offsets, variants, strict=True)
            ]
        program = flat_of(variants[0][1])
        for place in range(len(program.takes) - offsets[0]):
            takes.append(Slot(tuple(offset + place for offset in offsets)))
        for place in range(len(program.gives) - offsets[0]):
            gives.append(Slot(tuple(offset + place for offset in offsets)))
        return takes, gives

    def _place(self, n: int) -> Place:
        where, own, room = [], [], []
        for name in GROUPS:
            arrays = getattr(self._states[n], name)
            mine = {slot.places[n]: number for number, slot in enumerate(self._slots[name])}
            where.append(tuple(mine[place] for place in range(len(arrays))))
            own.append(tuple(tuple(array.shape) for array in arrays))
            room.append(tuple(self._room(name, slot) for slot in self._slots[name]))
        return InFamily(tuple(where), tuple(own), tuple(room), tuple(self._settings[n]))

    def _room(self, name: str, slot: Slot) -> tuple[tuple[int, ...], Any]:
        arrays = [
            getattr(state, name)[place]
            for state, place in zip(self._states, slot.places, strict=True)
            if place is not None
        ]
        shape = tuple(max(sizes) for sizes in zip(*(a.shape for a in arrays), strict=True))
        return shape, np.dtype(arrays[0].dtype)


def _by_themselves(
    graph: Graph, results: Sequence[Value], addresses: Sequence[Address]
) -> frozenset[Address]:
    """Whole numbers of the state whose next values depend on such numbers alone."""
    sources = {
        number: graph.sources(results[number])
        for number in range(len(addresses))
        if jax.dtypes.issubdtype(results[number].dtype, np.integer)
    }
    left = set(sources)
    while others := {number for number in left if not sources[number] <= left}:
        left -= others
    return frozenset(addresses[number] for number in left)


def _as_step(
    call: Callable[[Sequence[Any], Any], list[Any]], counts: Sequence[int], of_logs: Any
) -> Callable[[State, Any], tuple[State, Any]]:
    """A woven program as a step; ``counts`` of arrays in each group of the state."""

    def step(state: State, data: Any) -> tuple[State, Any]:
        found = call(jax.tree.leaves((state[:4], data)), state.settings)
        groups = []
        for count in counts:
            groups.append(found[:count])
            found = found[count:]
        trainable, non_trainable, optimizer, metrics = groups
        after = State(trainable, non_trainable, optimizer, metrics, state.settings)
        return after, jax.tree.unflatten(of_logs, found)

    return step
