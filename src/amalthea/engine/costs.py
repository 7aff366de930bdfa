"""Which form a cohort is trained in: decided from counts, so that the same fits choose the same.

The constants are rounded measurements on CPUs of a few cores, given where they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax

from .grouping import Thing, grouped
from .members import Member
from .programs import Effort
from .room import bytes_on_device
from .structures import Structure
from .work import Work

# Seconds on a CPU: per primitive operation in a compiled loop, whatever its size; per number
# written; per multiplication in a product of matrices.
_PER_OPERATION, _PER_ELEMENT, _PER_MULTIPLICATION = 1.5e-7, 4e-10, 5e-11
_TRACING_STACKED = 0.08  # seconds more to trace and compile a stacked program than a loop
_COMPILING = 0.4  # seconds to compile a small program well
_SLOWER = 6e-10  # seconds more for each number written, when compiled with little effort
_LITTLE, _MUCH = 0.1, 4.0  # seconds that may be lost so, before some and full effort are better
# Seconds to trace and compile a stacked program with little effort, and for each operation in it.
_PREPARING, _PREPARING_OPERATION = 0.1, 1e-3
_SHORT = 0.2  # seconds of a fit that a program more is not worth
_LANES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)
_LANES_ON_ACCELERATOR = (*_LANES, 96, 128, 192, 256)
_CALLING = 2e-4  # seconds to call a program and to fetch what it gives
_EPOCHS = (32, 8)  # epochs of one call: few numbers, so that programs are shared
_LONGEST_CALL, _BYTES_OF_ORDERS = 0.25, 8e6


@dataclass(frozen=True)
class Form:
    """How a cohort is trained.

    ``may_round``: rounding may differ from Keras's.
    """

    name: str
    lanes: int = 1
    effort: Effort = Effort.FULL
    may_round: bool = False


def choose_forms(
    structure: Structure,
    members: Sequence[Member],
    bytes_each: float,
    forced: str | None,
    room: float,
    to_the_bit: bool,
) -> list[tuple[Form, list[Member]]]:
    """Cut members of one program and size into cohorts, each with its form.

    Parameters
    ----------
    structure : Structure
    members : sequence of Member
    bytes_each : float
        What each takes in a stacked program.
    forced : {"stacked", "loop", "steps"} or None
        None chooses.
    room : float
        Bytes that programs and data may take on the device.
    to_the_bit : bool
        Only what gives Keras's own numbers to the bit, unless a form is forced.
    """
    apart = [member for member in members if member.needs_all_variables]
    together = [member for member in members if not member.needs_all_variables]
    work = work_of_epoch(structure, members[0])
    free = may_round(structure, members[0], to_the_bit)
    effort = _effort(work, members) if free else Effort.FULL
    on_host = _bytes_of_data(members[0]) > room
    name = forced or ("steps" if on_host else _form(work, together, free))
    most_lanes = room / bytes_each  # inf where a device does not tell its memory
    lone = Form(_lone_form(work) if name == "stacked" else name, 1, effort, free)
    cut = [(lone, [member]) for member in apart]
    if name == "stacked" and min(len(together), most_lanes) >= 2:
        sizes = [n for n in _lane_counts() if n <= most_lanes]
        for part in in_parts(together, sizes[-1]):
            cut.append((Form("stacked", lanes_for(len(part)), effort, free), part))
        return cut
    return cut + [(lone, [member]) for member in together]


def may_round(structure: Structure, member: Member, to_the_bit: bool) -> bool:
    """Whether rounding may differ from Keras's."""
    # In one batch of all rows a gradient may vanish by symmetry, and be all rounding.
    one_batch = len(member.request.training) <= member.request.batch_size
    return structure.steady and not to_the_bit and not one_batch


def seconds_together(structure: Structure, members: Sequence[Member]) -> float:
    """What preparing and running them in one stacked program takes."""
    operations = structure.train.operations + (structure.test.operations if structure.test else 0)
    total = _PREPARING + _PREPARING_OPERATION * operations
    for alike in grouped(members, lambda member: work_of_epoch(structure, member).operations):
        seconds = _seconds(work_of_epoch(structure, alike[0]))
        longest = max(member.request.epochs - member.epoch for member in alike)
        total += seconds.once * longest + seconds.each * _epochs(alike)
    return total


def expected_seconds(
    structure: Structure, members: Sequence[Member], form: Form, prepares: bool
) -> float:
    """What a cohort is expected to take."""
    operations = structure.train.operations + (structure.test.operations if structure.test else 0)
    preparing = (_PREPARING + _PREPARING_OPERATION * operations) * prepares
    seconds = _seconds(work_of_epoch(structure, members[0]))
    longest = max(member.request.epochs - member.request.initial_epoch for member in members)
    return preparing + (seconds.once + seconds.each * form.lanes) * longest


def least_seconds(members: Sequence[Member]) -> float:
    """What members of one structure take at the least by themselves."""
    structure = members[0].structure
    steps = structure.train.operations / 2  # whole and short batches are one step
    seconds = _seconds(work_of_epoch(structure, members[0]))
    run = seconds.once * members[0].n_epochs_left + seconds.each * _epochs(members)
    return _PREPARING + _PREPARING_OPERATION * steps + run


def may_stack(structure: Structure, member: Member) -> bool:
    """Whether what a program costs whatever its size is most of an epoch, or all is little."""
    work = work_of_epoch(structure, member)
    seconds = _seconds(work)
    if jax.default_backend() != "cpu":
        return True
    short = seconds.each * member.n_epochs_left < _SHORT
    return not work.convolves and (short or seconds.once > seconds.each)


def is_worth_it(structure: Structure, member: Member, lanes: int) -> bool:
    """Whether so many lanes for one fit take less time than preparing another program."""
    each = _seconds(work_of_epoch(structure, member)).each
    return each * (lanes - 1) * member.n_epochs_left < _COMPILING


def effort_for(structure: Structure, members: Sequence[Member]) -> Effort:
    """How well to compile what all these are trained by."""
    longest = max(members, key=lambda member: work_of_epoch(structure, member).elements)
    return _effort(work_of_epoch(structure, longest), members)


def has_room(member: Member, bytes_of_lanes: float, room: float) -> bool:
    """Whether these lanes, and the rows of the member, fit into what the device has."""
    return bytes_of_lanes <= room and _bytes_of_data(member) <= room


def stacked_forms(
    structure: Structure,
    members: Sequence[Member],
    bytes_each: float,
    effort: Effort,
    room: float,
) -> list[tuple[Form, list[Member]]]:
    """Members cut into stacks as large as there is room for; none where there is none for two."""
    sizes = [n for n in _lane_counts() if has_room(members[0], n * bytes_each, room)]
    if not sizes:
        return []
    return [
        (Form("stacked", lanes_for(len(part)), effort, True), part)
        for part in in_parts(members, sizes[-1])
    ]


def shrinks_to(structure: Structure, members: Sequence[Member], lanes: int) -> int | None:
    """How many lanes the members that are left should move to, or None to stay."""
    fewer = next((n for n in (1, *_lane_counts()) if n >= len(members)), lanes)
    if fewer >= lanes:
        return None
    epochs = max(member.request.epochs - member.epoch for member in members)
    saved = _seconds(work_of_epoch(structure, members[0])).each * (lanes - fewer) * epochs
    return fewer if saved > _COMPILING else None


def epochs_at_once(structure: Structure, members: Sequence[Member], lanes: int) -> int:
    """How many epochs are one call of a program: not so many that an interrupt has to wait."""
    seconds = _seconds(work_of_epoch(structure, members[0]))
    each = seconds.once + seconds.each * lanes
    order = 4.0 * len(members[0].request.training) * lanes
    fits = (n for n in _EPOCHS if n * each <= _LONGEST_CALL and n * order <= _BYTES_OF_ORDERS)
    return next(fits, 1)


def most_lanes() -> int:
    return _lane_counts()[-1]


def lanes_for(several: int) -> int:
    """The lanes of the program that so many share: few numbers, so that programs serve others."""
    return next(n for n in _lane_counts() if n >= several)


def in_parts(things: Sequence[Thing], most: int) -> list[list[Thing]]:
    """As few parts as possible, of sizes that differ by one at most."""
    n_parts = -(-len(things) // most)
    return [list(things[part::n_parts]) for part in range(n_parts)]


def predicts_together(work: Work) -> bool:
    """Whether models are so small that their predictions are one program."""
    if jax.default_backend() != "cpu":
        return True
    each = work.elements * _PER_ELEMENT + work.multiplications * _PER_MULTIPLICATION
    return not work.convolves and each < _CALLING


def effort_for_predicting(work: Work) -> Effort:
    little = work.elements * _SLOWER < 1e-3 and not work.halves
    return Effort.LITTLE if little else Effort.FULL


@dataclass(frozen=True)
class _Seconds:
    """Of one epoch: what it costs once for all fits in a program, and for each of them."""

    once: float
    each: float


def _seconds(work: Work) -> _Seconds:
    each = work.elements * _PER_ELEMENT + work.multiplications * _PER_MULTIPLICATION
    return _Seconds(work.operations * _PER_OPERATION, each)


def work_of_epoch(structure: Structure, member: Member) -> Work:
    request = member.request
    work = structure.train.work(len(request.training), request.batch_size)
    if structure.test is not None and request.validation is not None:
        work += structure.test.work(len(request.validation), request.validation_batch_size)
    return work


def _form(work: Work, members: Sequence[Member], free: bool) -> str:
    if len(members) < 2 or not free:
        return _lone_form(work)
    if jax.default_backend() != "cpu":
        return "stacked"
    # XLA's convolutions on CPU are several times slower inside a loop (JAX issue 12868).
    if work.convolves:
        return "steps"
    seconds = _seconds(work)
    saved = seconds.once * (len(members) - 1) * _epochs(members) / len(members)
    return "stacked" if seconds.once > seconds.each and saved > _TRACING_STACKED else "loop"


def _lone_form(work: Work) -> str:
    return "steps" if work.convolves and jax.default_backend() == "cpu" else "loop"


def _effort(work: Work, members: Sequence[Member]) -> Effort:
    lost = work.elements * _epochs(members) * _SLOWER
    if lost >= _MUCH or work.halves:
        return Effort.FULL
    return Effort.LITTLE if lost < _LITTLE else Effort.SOME


def _bytes_of_data(member: Member) -> float:
    held = member.request.validation
    return bytes_on_device(member.request.training) + (bytes_on_device(held) if held else 0)


def _epochs(members: Sequence[Member]) -> int:
    return sum(member.request.epochs - member.epoch for member in members)


def _lane_counts() -> tuple[int, ...]:
    return _LANES if jax.default_backend() == "cpu" else _LANES_ON_ACCELERATOR
