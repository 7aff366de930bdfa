"""Predictions in compiled programs, batches of one shape each.

All batches have ``batch_size`` rows, the last one filled up with copies of the last row: so no
row's output depends on how many came with it. Small models that predict at the same time do it in
one program, those of one family (:mod:`.lifting.families`) in its lanes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import jax
import numpy as np

from .alike import Seen
from .batching import Steps
from .choice import (
    effort_for_predicting,
    in_parts,
    lanes_for,
    lanes_to_predict,
    predicts_together,
)
from .effort import Effort
from .grouping import grouped
from .lanes import Stacked
from .lifting.families import Families, Family, can_be_woven, frame, skeleton
from .programs import Programs, TracedStep
from .requests import FitRequest, PredictRequest
from .rows import Arrays, count_rows, leaves, map_arrays, take
from .steps import State, state_to_predict
from .structures import Structure, Structures

MOST_BYTES_STACKED = 2**22  # of inputs: beyond, one model at a time reads them where they are
_MUCH_TO_COPY = 2**20  # bytes of weights


@dataclass(frozen=True, eq=False)
class _Prediction:
    request: PredictRequest
    structure: Structure
    state: State

    @property
    def n_batches(self) -> int:
        return -(-count_rows(self.request.x) // self.request.batch_size)

    @property
    def bytes_of_batch(self) -> int:
        arrays = leaves(self.request.x)
        a_row = sum(prod(array.shape[1:]) * array.dtype.itemsize for array in arrays)
        return a_row * self.request.batch_size


@dataclass(frozen=True)
class _Group:
    """What is predicted at once: one model, or several of a family in the lanes of its program."""

    predictions: list[_Prediction]
    family: Family | None = None
    lanes: int = 1


Started = Callable[[], Arrays]  # waits for the outputs


class Predictions:
    """Sets the device to work; what is returned for each request waits for the outputs."""

    def __init__(
        self, structures: Structures, families: Families, programs: Programs, may_round: bool
    ) -> None:
        self._structures, self._families, self._programs = structures, families, programs
        self._may_round = may_round

    def start(self, requests: Sequence[PredictRequest]) -> list[Started | Exception]:
        seen: Seen = {}
        started: dict[int, Started | Exception] = {}
        number: dict[_Prediction, int] = {}
        for place, request in enumerate(requests):
            try:
                number[self._prediction(request, seen)] = place
            except Exception as error:
                started[place] = error
        for group in self._groups(list(number)):
            outputs = self._started(group)
            started.update(zip(map(number.__getitem__, group.predictions), outputs, strict=True))
        self._structures.write()  # while they are computed
        return [started[place] for place in range(len(requests))]

    def foresee(self, requests: Iterable[FitRequest], pool: Executor) -> None:
        """Prepare what predicts rows like those that these models are trained on.

        That is what comes next in a search. It is compiled in the pool; what goes wrong is told
        when it comes.
        """
        seen: Seen = {}
        with contextlib.suppress(Exception):
            predictions = [
                self._prediction(_of_training(one), seen)
                for one in requests
                if one.keeps_model and one.likeness is not None
            ]
            for group in self._groups(predictions):
                if group.family is not None:
                    state, batches = _in_lanes(group.predictions, group.family, group.lanes)
                    self._program(group.family, state, next(batches), pool)

    def trace(self, fit: FitRequest) -> None:
        """Have the step known that predicts rows like those that a model is trained on.

        What goes wrong is told when it predicts.
        """
        with contextlib.suppress(Exception):
            self._prediction(_of_training(fit), {})

    def _started(self, group: _Group) -> Sequence[Started | Exception]:
        if group.family is not None:
            try:
                return self._together(group.predictions, group.family, group.lanes)
            except Exception:  # what is a model's own fault comes again where it is alone
                alone = [_Group([each]) for each in group.predictions]
                return [one for each in alone for one in self._started(each)]
        try:
            return self._alone(group.predictions)
        except Exception as error:
            return [error]

    def _prediction(self, request: PredictRequest, seen: Seen) -> _Prediction:
        state = state_to_predict(request.model, request.weights)
        return _Prediction(request, self._structures.of_predict(request, state, seen), state)

    def _groups(self, predictions: Sequence[_Prediction]) -> list[_Group]:
        """Those that are predicted in one program."""
        alone = [_Group([one]) for one in predictions if not self._may_stack(one)]
        several = [one for one in predictions if self._may_stack(one)]
        frames = grouped(several, lambda one: (one.n_batches, frame(one.structure)))
        return alone + [group for some in frames for group in self._parts(some)]

    def _may_stack(self, one: _Prediction) -> bool:
        step = _step(one.structure)
        n_bytes = sum(array.nbytes for array in leaves(one.request.x))
        small = n_bytes <= MOST_BYTES_STACKED and predicts_together(step.work)
        return self._may_round and small and can_be_woven(one.structure)

    def _parts(self, some: list[_Prediction]) -> list[_Group]:
        """As many in one program as possible, and all by one program if that can be."""
        if len(some) == 1:
            return [_Group(some)]
        family = self._families.of([one.structure for one in some])
        if family is None:
            alike = grouped(some, lambda one: skeleton(one.structure))
            if len(alike) == 1:
                return [_Group([one]) for one in some]
            return [part for several in alike for part in self._parts(several)]
        most = lanes_to_predict(family.bytes_to_predict + max(one.bytes_of_batch for one in some))
        lanes = lanes_for(min(len(some), most))  # of several parts all have the most: one program
        return [_Group(part, family, lanes) for part in in_parts(some, most)]

    def _alone(self, predictions: Sequence[_Prediction]) -> list[Started]:
        (prediction,) = predictions
        request, state = prediction.request, prediction.state
        step = _step(prediction.structure)
        effort = effort_for_predicting(step.work) if self._may_round else Effort.FULL
        program: Any = None
        batches: list[Any] = []
        for x in _batches_of(prediction):
            if program is None:
                key = ("predict", step.key)
                one = partial(_of_batch, step)
                program = self._programs.prepare(key, one, state, x, effort=effort).result()
            changed, outputs = program(state, x)
            state = state._replace(non_trainable=changed)
            batches.append(outputs)
        return [partial(_joined, batches, count_rows(request.x))]

    def _together(
        self, predictions: Sequence[_Prediction], family: Family, lanes: int
    ) -> list[Started]:
        state, all_batches = _in_lanes(predictions, family, lanes)
        if lanes * family.bytes_to_predict > _MUCH_TO_COPY:  # once, and not for each batch
            state = jax.device_put(state)
        program, batches = None, []
        for x in all_batches:
            program = program or self._program(family, state, x).result()
            changed, outputs = program(state, x)
            state = state._replace(non_trainable=changed)
            batches.append(outputs)
        return _one_by_one(batches, [count_rows(one.request.x) for one in predictions])

    def _program(
        self, family: Family, state: State, x: Arrays, pool: Executor | None = None
    ) -> Future[Any]:
        """The program for states in lanes, each with a batch of its own."""
        step = _step(family.structure)
        axes: Any = (State(0, 0, 0, None, 0), 0)  # type: ignore[arg-type]
        return self._programs.prepare(
            ("predict together", step.key),
            jax.vmap(partial(_of_batch, step), axes),
            *(state, x),
            effort=effort_for_predicting(step.work),
            pool=pool,
        )


def _of_training(fit: FitRequest) -> PredictRequest:
    """To predict the rows that a model is trained on."""
    return PredictRequest(fit.model, fit.training.x, fit.batch_size, likeness=fit.likeness)


def _step(structure: Structure) -> TracedStep:
    assert isinstance(structure.train, Steps)
    step = structure.train.whole
    assert step is not None
    return step


def _of_batch(step: TracedStep, state: State, x: Arrays) -> Any:
    """The outputs, after what changes from batch to batch; to give all weights is to copy them."""
    after, outputs = step(state, x)
    return after.non_trainable, outputs


def _one_by_one(batches: Sequence[Any], n_rows: Sequence[int]) -> list[Started]:
    fetched: list[Any] = []

    def outputs_of(lane: int) -> Arrays:
        if not fetched:  # all at once, when the first is asked for
            fetched.extend(jax.tree.map(np.asarray, batch) for batch in batches)
        return _joined([jax.tree.map(lambda a: a[lane], one) for one in fetched], n_rows[lane])

    return [partial(outputs_of, lane) for lane in range(len(n_rows))]


def _joined(batches: Sequence[Any], n_rows: int) -> Arrays:
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *batches)
    return map_arrays(lambda array: array[:n_rows], joined)


def _in_lanes(
    predictions: Sequence[_Prediction], family: Family, lanes: int
) -> tuple[State, Iterator[Arrays]]:
    """The state and the batches of all; lanes that are left over go along with the last one."""
    seats = [*predictions, *[predictions[-1]] * (lanes - len(predictions))]
    places = [family.places[seat.structure.key] for seat in seats]
    batches = zip(*map(_batches_of, seats), strict=True)
    stacked = (jax.tree.map(lambda *arrays: np.stack(arrays), *batch) for batch in batches)
    return Stacked(places).join([seat.state for seat in seats]), stacked


def _batches_of(one: _Prediction) -> Iterator[Arrays]:
    x, size = one.request.x, one.request.batch_size
    return (take(x, rows) for rows in _batches(count_rows(x), size))


def _batches(n_rows: int, size: int) -> list[np.ndarray]:
    """The rows of each batch."""
    rows = np.arange(-(-n_rows // size) * size)
    return list(np.minimum(rows, n_rows - 1).reshape(-1, size))
