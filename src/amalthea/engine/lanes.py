"""The states of a cohort in one: stacked along a first axis, or the state of one fit as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from .lifting.places import AS_IT_IS, Place
from .steps import Address, State


class Lanes(Protocol):
    """``lane`` counts the fits of the cohort. States are not changed in place.

    States of a fit are those of its own model; joined, they are as the program of its family has
    them (:mod:`.lifting.places`).
    ``fetched`` is the same state where looking at many lanes is cheap. ``values`` are those of a
    lane in logs of one epoch, ``columns`` in logs with a first axis of epochs.
    """

    def join(self, states: Sequence[State]) -> State: ...

    def state(self, joined: State, lane: int) -> State: ...

    def fetched(self, joined: State) -> State: ...

    def values(self, logs: Any, lane: int) -> Any: ...

    def columns(self, logs: Any, lane: int) -> Any: ...

    def replace(self, joined: State, lane: int, state: State) -> State: ...

    def with_optimizer_value(self, joined: State, lane: int, index: int, value: Any) -> State: ...


class Lone:
    """One fit."""

    def __init__(self, place: Place = AS_IT_IS) -> None:
        self._place = place

    def join(self, states: Sequence[State]) -> State:
        (state,) = states
        return self._place.put(state)

    def state(self, joined: State, lane: int) -> State:
        return self._place.take(joined)

    def fetched(self, joined: State) -> State:
        return joined

    def values(self, array: Any, lane: int) -> Any:
        return array

    def columns(self, array: Any, lane: int) -> Any:
        return array

    def replace(self, joined: State, lane: int, state: State) -> State:
        return self._place.put(state)

    def with_optimizer_value(self, joined: State, lane: int, index: int, value: Any) -> State:
        optimizer = list(joined.optimizer)
        optimizer[self._place.optimizer_place(index)] = value
        return joined._replace(optimizer=optimizer)


class Stacked:
    """Several fits; metrics begin each epoch alike and have no axis of fits.

    Nor have ``common`` arrays; where there are such, states are not replaced.
    """

    def __init__(self, places: Sequence[Place], common: frozenset[Address] = frozenset()) -> None:
        self._places, self._common = places, common

    def join(self, states: Sequence[State]) -> State:
        placed = [place.put(state) for place, state in zip(self._places, states, strict=True)]

        def of(name: str) -> list[Any]:
            groups = [getattr(state, name) for state in placed]
            return [
                self._joined((name, number), [np.asarray(value) for value in same])
                for number, same in enumerate(zip(*groups, strict=True))
            ]

        return State(
            of("trainable"),
            of("non_trainable"),
            of("optimizer"),
            states[0].metrics,
            tuple(of("settings")),
        )

    def _joined(self, address: Address, values: Sequence[np.ndarray]) -> np.ndarray:
        if address not in self._common:
            return np.stack(values)
        owners = (
            n for n, place in enumerate(self._places) if place.own_number(address) is not None
        )
        return values[next(owners, 0)]

    def state(self, joined: State, lane: int) -> State:
        def of(name: str) -> list[Any]:
            return [
                np.array(array if (name, number) in self._common else np.asarray(array)[lane])
                for number, array in enumerate(getattr(joined, name))
            ]

        own = State(of("trainable"), of("non_trainable"), of("optimizer"), [])
        return self._places[lane].take(own)

    def fetched(self, joined: State) -> State:
        return State(*([np.asarray(stacked) for stacked in group] for group in joined))

    def values(self, array: Any, lane: int) -> Any:
        return array[lane]

    def columns(self, array: Any, lane: int) -> Any:
        return array[:, lane]

    def replace(self, joined: State, lane: int, state: State) -> State:
        assert not self._common
        placed = self._places[lane].put(state)

        def of(name: str) -> list[Any]:
            pairs = zip(getattr(joined, name), getattr(placed, name), strict=True)
            return [_with_row(stacked, lane, value) for stacked, value in pairs]

        trainable, non_trainable, optimizer = map(of, ("trainable", "non_trainable", "optimizer"))
        return State(trainable, non_trainable, optimizer, joined.metrics, joined.settings)

    def with_optimizer_value(self, joined: State, lane: int, index: int, value: Any) -> State:
        optimizer, index = list(joined.optimizer), self._places[lane].optimizer_place(index)
        optimizer[index] = _with_row(optimizer[index], lane, value)
        return joined._replace(optimizer=optimizer)


def _with_row(stacked: Any, lane: int, value: Any) -> np.ndarray:
    array = np.array(stacked)
    array[lane] = np.asarray(value)
    return array


def in_common(
    addresses: Iterable[Address], places: Sequence[Place], states: Sequence[State]
) -> frozenset[Address]:
    """Those of the arrays that are equal in all fits which have them."""

    def is_equal(address: Address) -> bool:
        name, _ = address
        own = [
            (place.own_number(address), state) for place, state in zip(places, states, strict=True)
        ]
        arrays = [getattr(state, name)[number] for number, state in own if number is not None]
        return len({np.asarray(array).tobytes() for array in arrays}) <= 1

    return frozenset(filter(is_equal, addresses))
