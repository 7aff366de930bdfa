"""How long training is expected to take: from counts, so that the same fits are expected the same.

The constants are rounded measurements on CPUs of a few cores, given where they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .effort import Effort
from .grouping import grouped
from .members import Member
from .structures import Structure
from .work import Work

# Seconds on a CPU: per primitive operation in a compiled loop, whatever its size; per number
# written; per multiplication in a product of matrices.
_PER_OPERATION, _PER_ELEMENT, _PER_MULTIPLICATION = 1.5e-7, 2e-10, 1e-11
# Seconds to trace and compile a stacked program with little effort, and for each operation in it.
_PREPARING, _PREPARING_OPERATION = 0.1, 1e-3
_TIMES = {Effort.LITTLE: 1.0, Effort.SOME: 2.0, Effort.FULL: 3.0}  # of that with more effort


@dataclass(frozen=True)
class Seconds:
    """What something costs once for all fits in a program, and for each of them."""

    once: float
    each: float


def seconds_of(work: Work) -> Seconds:
    each = work.elements * _PER_ELEMENT + work.multiplications * _PER_MULTIPLICATION
    return Seconds(work.operations * _PER_OPERATION, each)


def work_of_epoch(structure: Structure, member: Member) -> Work:
    request = member.request
    work = structure.train.work(len(request.training), request.batch_size)
    if structure.test is not None and request.validation is not None:
        work += structure.test.work(len(request.validation), request.validation_batch_size)
    return work


def epochs_left(members: Sequence[Member]) -> int:
    return sum(member.n_epochs_left for member in members)


def seconds_to_prepare(
    structure: Structure, share: float = 1.0, effort: Effort = Effort.LITTLE
) -> float:
    """To trace and compile its programs; ``share`` of their operations."""
    batchings = [structure.train, *([structure.test] if structure.test else [])]
    operations = sum(batching.operations for batching in batchings)
    return (_PREPARING + _PREPARING_OPERATION * operations * share) * _TIMES[effort]


def seconds_together(structure: Structure, members: Sequence[Member]) -> float:
    """What preparing and running them in one stacked program takes."""
    alike = grouped(members, lambda member: work_of_epoch(structure, member).operations)
    return seconds_to_prepare(structure) + sum(_seconds_to_run(structure, some) for some in alike)


def seconds_in_turns(structure: Structure, members: Sequence[Member], effort: Effort) -> float:
    """What preparing a program and running them in it one after the other takes."""
    seconds = seconds_of(work_of_epoch(structure, members[0]))
    run = (seconds.once + seconds.each) * epochs_left(members)
    return seconds_to_prepare(structure, effort=effort) + run


def least_seconds(members: Sequence[Member]) -> float:
    """What members of several structures take at the least in one stacked program.

    For each fit it does, batch by batch, all that the largest of them does.
    """
    alike = [some[0] for some in grouped(members, lambda member: member.structure.key)]
    # In the one program whole and short batches would be one step.
    prepare = max(seconds_to_prepare(member.structure, share=0.5) for member in alike)
    batches = [_seconds_of_batch(member) for member in alike]
    once, each = max(one.once for one in batches), max(one.each for one in batches)
    longest = max(_batches_left(member) for member in members)
    return prepare + once * longest + each * sum(map(_batches_left, members))


def _seconds_of_batch(member: Member) -> Seconds:
    seconds = seconds_of(work_of_epoch(member.structure, member))
    n_batches = member.request.n_batches
    return Seconds(seconds.once / n_batches, seconds.each / n_batches)


def _batches_left(member: Member) -> int:
    return member.request.n_batches * member.n_epochs_left


def _seconds_to_run(structure: Structure, members: Sequence[Member]) -> float:
    seconds = _seconds_of_all(structure, members)
    return seconds.once + seconds.each


def _seconds_of_all(structure: Structure, members: Sequence[Member]) -> Seconds:
    """Of all epochs of all members, as if they were equally large."""
    seconds = seconds_of(work_of_epoch(structure, members[0]))
    longest = max(member.n_epochs_left for member in members)
    return Seconds(seconds.once * longest, seconds.each * epochs_left(members))


def expected_seconds(
    structure: Structure, members: Sequence[Member], lanes: int, prepares: bool
) -> float:
    """What a cohort takes from its first epoch to its last."""
    seconds = seconds_of(work_of_epoch(structure, members[0]))
    requests = [member.request for member in members]
    longest = max(request.epochs - request.initial_epoch for request in requests)
    preparing = seconds_to_prepare(structure) if prepares else 0.0
    return preparing + (seconds.once + seconds.each * lanes) * longest
