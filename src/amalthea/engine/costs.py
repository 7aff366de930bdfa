"""How long training is expected to take: from counts, so that the same fits are expected the same.

The constants are rounded measurements on CPUs of a few cores, given where they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .grouping import grouped
from .members import Member
from .structures import Structure
from .work import Work

# Seconds on a CPU: per primitive operation in a compiled loop, whatever its size; per number
# written; per multiplication in a product of matrices.
_PER_OPERATION, _PER_ELEMENT, _PER_MULTIPLICATION = 1.5e-7, 4e-10, 5e-11
# Seconds to trace and compile a stacked program with little effort, and for each operation in it.
_PREPARING, _PREPARING_OPERATION = 0.1, 1e-3


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


def seconds_to_prepare(structure: Structure, share: float = 1.0) -> float:
    """To trace and compile its programs; ``share`` of their operations."""
    batchings = [structure.train, *([structure.test] if structure.test else [])]
    operations = sum(batching.operations for batching in batchings)
    return _PREPARING + _PREPARING_OPERATION * operations * share


def seconds_together(structure: Structure, members: Sequence[Member]) -> float:
    """What preparing and running them in one stacked program takes."""
    alike = grouped(members, lambda member: work_of_epoch(structure, member).operations)
    return seconds_to_prepare(structure) + sum(_seconds_to_run(structure, some) for some in alike)


def least_seconds(groups: Sequence[Sequence[Member]]) -> float:
    """What groups, each of one structure, take at the least in one program.

    It does all that the largest of them does once, and for each fit what its own would do.
    """
    # In the one program whole and short batches would be one step.
    prepare = max(seconds_to_prepare(group[0].structure, share=0.5) for group in groups)
    runs = [_seconds_of_all(group[0].structure, group) for group in groups]
    return prepare + max(run.once for run in runs) + sum(run.each for run in runs)


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
