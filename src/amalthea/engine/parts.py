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
from .lifting.families import can_be_woven, frame, skeleton
from .members import Member
from .own_programs import OwnPrograms
from .part import Part
from .stacks import Stacks
from .terms import Terms
from .trajectories import leads
from .turns import Turns


class Cutting:
    """Cuts members of any structures and sizes into cohorts, each with its form."""

    def __init__(self, terms: Terms) -> None:
        self._terms, self._own = terms, OwnPrograms(terms)
        self._stacks, self._turns = Stacks(terms, self._own), Turns(terms, self._own)

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
        free = may_round(member.structure, member, self._terms.to_the_bit)
        return free and not member.needs_all_variables and can_be_woven(member.structure)

    def _may_stack(self, member: Member) -> bool:
        if self._terms.forced is not None:
            return self._terms.forced == "stacked"
        return may_stack(member.structure, member)
