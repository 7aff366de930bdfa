"""Which models of several sizes share one program that is large enough for all of them.

To compile a program takes as long as some hundred steps of a middling model, so it is worth
sharing. But a small model in a large program computes much in vain. Buckets are put together, two
at a time, while that is expected to save time: from counts, since to weave every pair would take
longer than what is saved.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from math import prod
from operator import add

from .choice import effort_for
from .costs import epochs_left, seconds_of, seconds_to_prepare, work_of_epoch
from .grouping import grouped
from .members import Member

Group = list[Member]
_Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Bucket:
    """Groups of members, each of one skeleton, and what a program for all of them would take.

    ``room`` are the shapes of its weights. ``once`` and ``each`` are the seconds of an epoch that
    do not depend on sizes and those for each weight; ``prepare`` those before the first one.
    ``n_epochs`` are those of all members, ``n_calls`` how often the operations are called for them.
    """

    groups: tuple[Group, ...]
    room: _Shapes
    once: float
    each: float
    prepare: float
    n_epochs: int
    n_calls: int
    stacked: bool

    @property
    def members(self) -> Group:
        return [member for group in self.groups for member in group]

    @property
    def each_of_room(self) -> float:
        """Seconds of an epoch of one fit that depend on sizes."""
        return self.each * _size(self.room)

    @property
    def seconds(self) -> float:
        return self.prepare + self.n_calls * self.once + self.n_epochs * self.each_of_room

    def halves(self) -> list[Bucket]:
        middle = len(self.groups) // 2
        some = self.groups[:middle], self.groups[middle:]
        return [
            reduce(Bucket.with_other, map(partial(_alone, stacked=self.stacked), half))
            for half in some
        ]

    def with_other(self, other: Bucket) -> Bucket:
        return Bucket(
            self.groups + other.groups,
            tuple(map(_larger, self.room, other.room)),
            max(self.once, other.once),
            max(self.each, other.each),
            max(self.prepare, other.prepare),
            self.n_epochs + other.n_epochs,
            (max if self.stacked else add)(self.n_calls, other.n_calls),
            self.stacked,
        )


def buckets(groups: Sequence[Group], stacked: bool) -> list[Bucket]:
    """Groups of one skeleton each, with those that should share a program.

    They are ``stacked`` in it, or take turns.
    """
    found: list[Bucket] = []
    for alike in grouped(groups, lambda group: _kind(group[0])):
        found += _joined([_alone(group, stacked) for group in alike])
    return found


def _alone(group: Group, stacked: bool) -> Bucket:
    room = _shapes(group[0])
    seconds = seconds_of(work_of_epoch(group[0].structure, group[0]))
    # Whole and short batches are one step.
    effort = effort_for(group[0].structure, group)
    prepare = seconds_to_prepare(group[0].structure, 0.5, effort)
    each, n_epochs = seconds.each / _size(room), epochs_left(group)
    n_calls = max(member.n_epochs_left for member in group) if stacked else n_epochs
    return Bucket((group,), room, seconds.once, each, prepare, n_epochs, n_calls, stacked)


def _joined(ahead: list[Bucket]) -> list[Bucket]:
    """The two whose union saves most become one, until no union saves anything."""
    found: dict[int, Bucket] = {}
    costs: list[tuple[float, int, int]] = []  # of unions, less what the two cost apart

    def add_bucket(new: Bucket) -> None:
        number = next(numbers)
        for old, other in found.items():
            cost = new.with_other(other).seconds - new.seconds - other.seconds
            if cost < 0:
                heapq.heappush(costs, (cost, old, number))
        found[number] = new

    numbers = itertools.count()
    for bucket in ahead:
        add_bucket(bucket)
    while costs:
        _, *pair = heapq.heappop(costs)
        if found.keys() >= {*pair}:
            add_bucket(reduce(Bucket.with_other, map(found.pop, pair)))
    return list(found.values())


def _kind(member: Member) -> Hashable:
    """What has to be alike in one program: but for sizes, the weights; and the batches."""
    request, held = member.request, member.request.validation
    weights = tuple((len(array.shape), str(array.dtype)) for array in member.state.trainable)
    return (
        weights,
        request.batch_size,
        request.validation_batch_size if held else None,
        request.validation_rhythm,
    )


def _shapes(member: Member) -> _Shapes:
    return tuple(tuple(array.shape) for array in member.state.trainable)


def _size(shapes: _Shapes) -> int:
    """How many weights there are; 1 where there is none to train."""
    return max(1, sum(map(prod, shapes)))


def _larger(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(max, one, other))
