"""How a cohort is trained: its form, how many lanes, how well compiled, how many epochs a call.

All is decided from what :mod:`.costs` expects and not by a clock, so that the same fits choose the
same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax

from .costs import epochs_left, seconds_of, work_of_epoch
from .effort import Effort
from .grouping import Thing
from .members import Member
from .room import bytes_on_device
from .run_shapes import RunShape
from .structures import Structure
from .work import Work

_TRACING_STACKED = 0.08  # seconds more to trace and compile a stacked program than a loop
_COMPILING = 0.4  # seconds to compile a small program well
_SLOWER = 6e-10  # seconds more for each number written, when compiled with little effort
_LITTLE, _MUCH = 0.1, 4.0  # seconds that may be lost so, before some and full effort are better
_CALLING = 2e-4  # seconds to call a program and to fetch what it gives
_LANES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96)
_LANES_ON_ACCELERATOR = (*_LANES, 128, 192, 256)
_EPOCHS = (32, 8)  # epochs of one call: few numbers, so that programs are shared
_LONGEST_CALL, _BYTES_OF_ORDERS = 0.25, 8e6
# Of models that are predicted together: on a CPU each batch reads their weights from its cache.
_BYTES_PREDICTED, _BYTES_PREDICTED_ON_ACCELERATOR = 2**23, 2**30


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
    effort = effort_for(structure, members) if free else Effort.FULL
    on_host = _bytes_of_data(members[0]) > room
    name = forced or ("steps" if on_host else _form(work, together, free))
    lone = Form(_lone_form(work, free) if name == "stacked" else name, 1, effort, free)
    stacked: list[tuple[Form, list[Member]]] = []
    if name == "stacked" and len(together) > 1 and not work.one_by_one:
        stacked = in_stacks(together, bytes_each, Form("stacked", 1, effort, free), room)
    rest = apart if stacked else [*apart, *together]
    return [*stacked, *((lone, [member]) for member in rest)]


def in_stacks(
    members: Sequence[Member], bytes_each: float, form: Form, room: float
) -> list[tuple[Form, list[Member]]]:
    """Members in stacks as large as there is room for; none where there is none for two."""
    sizes = [n for n in _lane_counts() if has_room(members[0], n * bytes_each, room)]
    if not sizes:
        return []
    return [
        (replace(form, lanes=lanes_for(len(part))), part) for part in in_parts(members, sizes[-1])
    ]


def has_room(member: Member, bytes_of_lanes: float, room: float) -> bool:
    """Whether these lanes, and the rows of the member, fit into what the device has."""
    return bytes_of_lanes <= room and _bytes_of_data(member) <= room


def may_round(structure: Structure, member: Member, to_the_bit: bool) -> bool:
    """Whether rounding may differ from Keras's."""
    # In one batch of all rows a gradient may vanish by symmetry, and be all rounding.
    one_batch = len(member.request.training) <= member.request.batch_size
    if to_the_bit or one_batch or not structure.steady:
        return False
    # Of 16 bits a difference in rounding is no small one, and accelerators round otherwise.
    return jax.default_backend() == "cpu" or not work_of_epoch(structure, member).halves


def may_stack(structure: Structure, member: Member) -> bool:
    """Whether what a program costs whatever its size is most of an epoch."""
    if jax.default_backend() != "cpu":
        return True
    work = work_of_epoch(structure, member)
    seconds = seconds_of(work)
    return not work.convolves and seconds.once > seconds.each


def may_idle(structure: Structure, member: Member, lanes: int) -> bool:
    """Whether so many lanes to spare take less time than preparing another program."""
    each = seconds_of(work_of_epoch(structure, member)).each
    return each * lanes * member.n_epochs_left < _COMPILING


def effort_for(structure: Structure, members: Sequence[Member]) -> Effort:
    """How well to compile what all these are trained by."""
    longest = max(members, key=lambda member: work_of_epoch(structure, member).elements)
    return _effort(work_of_epoch(structure, longest), members)


def best_effort(least: Effort, known: Sequence[RunShape]) -> Effort:
    """As well as is worth it, or as a program is that is there, where that is better."""
    return min((shape.effort for shape in known if shape.effort >= least), default=least)


def effort_for_predicting(work: Work) -> Effort:
    little = work.elements * _SLOWER < 1e-3 and not work.halves
    return Effort.LITTLE if little else Effort.FULL


def predicts_together(work: Work) -> bool:
    """Whether models are so small that their predictions are one program."""
    if jax.default_backend() != "cpu":
        return True
    return not work.convolves and seconds_of(work).each < _CALLING


def shrinks_to(structure: Structure, members: Sequence[Member], lanes: int) -> int | None:
    """How many lanes the members that are left should move to, or None to stay."""
    fewer = next((n for n in (1, *_lane_counts()) if n >= len(members)), lanes)
    if fewer >= lanes:
        return None
    epochs = max(member.n_epochs_left for member in members)
    saved = seconds_of(work_of_epoch(structure, members[0])).each * (lanes - fewer) * epochs
    return fewer if saved > _COMPILING else None


def epochs_at_once(structure: Structure, members: Sequence[Member], lanes: int) -> int:
    """How many epochs are one call of a program: not so many that an interrupt has to wait."""
    seconds = seconds_of(work_of_epoch(structure, members[0]))
    each = seconds.once + seconds.each * lanes
    order = 4.0 * len(members[0].request.training) * lanes
    fits = (n for n in _EPOCHS if n * each <= _LONGEST_CALL and n * order <= _BYTES_OF_ORDERS)
    return next(fits, 1)


def lanes_to_predict(bytes_each: int) -> int:
    """How many models are predicted in one program: weights and a batch take so much each."""
    most = _BYTES_PREDICTED if jax.default_backend() == "cpu" else _BYTES_PREDICTED_ON_ACCELERATOR
    counts = _lane_counts()
    return max((n for n in counts if n * bytes_each <= most), default=counts[0])


def most_lanes() -> int:
    return _lane_counts()[-1]


def lanes_for(several: int) -> int:
    """The lanes of the program that so many share: few numbers, so that programs serve others."""
    return next(n for n in _lane_counts() if n >= several)


def in_parts(things: Sequence[Thing], most: int) -> list[list[Thing]]:
    """As few parts as possible, of sizes that differ by one at most."""
    n_parts = -(-len(things) // most)
    return [list(things[part::n_parts]) for part in range(n_parts)]


def _form(work: Work, members: Sequence[Member], free: bool) -> str:
    if len(members) < 2 or not free:
        return _lone_form(work, free)
    if jax.default_backend() != "cpu":
        return "stacked"
    # XLA's convolutions on CPU are several times slower inside a loop (JAX issue 12868).
    if work.convolves:
        return "steps"
    seconds = seconds_of(work)
    saved = seconds.once * (len(members) - 1) * epochs_left(members) / len(members)
    return "stacked" if seconds.once > seconds.each and saved > _TRACING_STACKED else "loop"


def _lone_form(work: Work, free: bool) -> str:
    if jax.default_backend() == "cpu":
        return "steps" if work.convolves else "loop"
    # Within a larger program an accelerator may round otherwise; Keras's own is that of a step.
    return "loop" if free else "steps"


def _effort(work: Work, members: Sequence[Member]) -> Effort:
    lost = work.elements * epochs_left(members) * _SLOWER
    if lost >= _MUCH or work.halves:
        return Effort.FULL
    return Effort.LITTLE if lost < _LITTLE else Effort.SOME


def _bytes_of_data(member: Member) -> float:
    held = member.request.validation
    return bytes_on_device(member.request.training) + (bytes_on_device(held) if held else 0)


def _lane_counts() -> tuple[int, ...]:
    return _LANES if jax.default_backend() == "cpu" else _LANES_ON_ACCELERATOR
