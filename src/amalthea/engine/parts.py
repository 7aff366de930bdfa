"""Which fits share a program, and in which form: members cut into the parts that cohorts train.

Fits of one structure do, and so do those whose structures differ in scalars alone
(:mod:`.own_programs`). Others are woven together, stacked in a program (:mod:`.stacks`) or taking
turns in it (:mod:`.turns`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .choice import may_round, may_stack
from .grouping import grouped
from .lifting.families import Families, can_be_woven, frame, skeleton
from .members import Member
from .own_programs import OwnPrograms
from .part import Part
from .run_shapes import RunShapes
from .stacks import Stacks
from .trajectories import leads
from .turns import Turns


class Cutting:
    """Cuts members of any structures and sizes into cohorts, each with its form.

    Parameters
    ----------
    families : Families
    shapes : RunShapes
        Of the programs that are there.
    forced : {"stacked", "loop", "steps"} or None
        None chooses.
    room : float
        Bytes that programs and data may take on the device.
    to_the_bit : bool
        Only what gives Keras's own numbers, unless a form is forced.
    """

    def __init__(
        self,
        families: Families,
        shapes: RunShapes,
        forced: str | None,
        room: float,
        to_the_bit: bool,
    ) -> None:
        self._forced, self._to_the_bit = forced, to_the_bit
        self._own = OwnPrograms(families, forced, room, to_the_bit)
        self._stacks = Stacks(families, shapes, self._own, room, forced == "stacked")
        self._turns = Turns(families, shapes, self._own, forced is not None)

    def parts(self, members: Sequence[Member]) -> list[Part]:
        trained, followers = leads(members)
        return [
            replace(part, followers={m: followers[m] for m in part.members if m in followers})
            for part in self._parts(trained)
        ]

    def _parts(self, members: Sequence[Member]) -> list[Part]:
        woven = {member: self._may_be_woven(member) for member in members}
        parts = self._own.of_equal([member for member in members if not woven[member]])
        may_be = [member for member in members if woven[member]]
        for alike in grouped(may_be, lambda member: frame(member.structure, one_step=True)):
            groups = grouped(alike, lambda member: skeleton(member.structure))
            stacked = [group for group in groups if self._may_stack(group[0])]
            parts += self._turns.parts([group for group in groups if group not in stacked])
            parts += self._stacks.parts(stacked)
        return parts

    def _may_be_woven(self, member: Member) -> bool:
        free = may_round(member.structure, member, self._to_the_bit)
        return free and not member.needs_all_variables and can_be_woven(member.structure)

    def _may_stack(self, member: Member) -> bool:
        if self._forced is not None:
            return self._forced == "stacked"
        return may_stack(member.structure, member)
