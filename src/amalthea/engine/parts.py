"""Which fits share a program, and in which form: members cut into the parts that cohorts train.

Fits of one structure do, and so do those whose structures differ in scalars alone. Others are woven
together (:mod:`.lifting.weaving`) where preparing one larger program, and what it computes in vain,
takes less time than preparing several.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from .choice import (
    Form,
    choose_forms,
    effort_for,
    has_room,
    in_stacks,
    may_idle,
    may_round,
    may_stack,
)
from .costs import least_seconds, seconds_together, work_of_epoch
from .grouping import grouped
from .lifting.families import Families, Family, can_be_woven, frame, skeleton
from .members import Member
from .programs import Effort
from .room import bytes_of_lane
from .run_shapes import RunShapes
from .structures import Structure
from .trajectories import Followers, leads

_Group = list[Member]


@dataclass(frozen=True, eq=False)
class Part:
    """Members that are trained together, the family that they are of, and how."""

    form: Form
    family: Family
    members: list[Member]
    bytes_each: float  # of a lane
    followers: Followers = field(default_factory=dict)

    @property
    def everyone(self) -> list[Member]:
        """The members, and those that leave them on the way (:mod:`.trajectories`)."""
        return [one for lead in self.members for one in (lead, *self.followers.get(lead, ()))]


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
        self._families, self._shapes, self._forced = families, shapes, forced
        self._room, self._to_the_bit = room, to_the_bit

    def parts(self, members: Sequence[Member]) -> list[Part]:
        trained, followers = leads(members)
        return [
            replace(part, followers={m: followers[m] for m in part.members if m in followers})
            for part in self._parts(trained)
        ]

    def _parts(self, members: Sequence[Member]) -> list[Part]:
        woven = [member for member in members if self._may_be_woven(member)]
        own = [member for member in members if not self._may_be_woven(member)]
        parts: list[Part] = []
        for alike in grouped(own, lambda member: (_size(member), member.structure.key)):
            parts += self._formed(Family.of_one(alike[0].structure), alike)
        for alike in grouped(woven, lambda member: frame(member.structure, one_step=True)):
            parts += self._woven(alike)
        return parts

    def _may_be_woven(self, member: Member) -> bool:
        free = may_round(member.structure, member, self._to_the_bit)
        return free and not member.needs_all_variables and can_be_woven(member.structure)

    def _woven(self, members: _Group) -> list[Part]:
        """Members whose rows are alike, and which may be rounded otherwise."""
        plain = grouped(members, lambda member: skeleton(member.structure))
        small = self._with_family([group for group in plain if self._may_stack(group)])
        small.sort(key=lambda group: work_of_epoch(group[0].structure, group[0]).elements)
        parts = [part for group in plain if group not in small for part in self._by_one(group)]
        for group in self._cheapest(small):
            family = self._family(group)
            several = len(group) > 1 or self._forced == "stacked"
            if several and family is not None:
                parts += self._stacked(family, group)
            else:
                parts += self._among_others(group[0]) or self._by_one(group)
        return parts

    def _may_stack(self, group: _Group) -> bool:
        if self._forced is not None:
            return self._forced == "stacked"
        return may_stack(group[0].structure, group[0])

    def _with_family(self, groups: list[_Group]) -> list[_Group]:
        """Those that can be woven at all; what can be woven together need not be tried alone."""
        if self._forced is not None or self._family([m for group in groups for m in group]):
            return groups
        return [group for group in groups if self._family(group) is not None]

    def _stacked(self, family: Family, group: _Group) -> list[Part]:
        """Fits with equally many batches in a program; all these programs are one, if they can."""
        parts = []
        effort = self._effort(family, group)
        # The one with most batches first: its program has room for the others.
        for alike in sorted(grouped(group, _batches), key=lambda some: _batches(some[0])[0])[::-1]:
            each = bytes_of(family, alike[0])
            formed = in_stacks(alike, each, Form("stacked", 1, effort, True), self._room)
            new = [
                Part(self._as_there(form, family, some, each), family, some, each)
                for form, some in formed
            ]
            parts += new or self._by_one(alike)
        return parts

    def _effort(self, family: Family, group: _Group) -> Effort:
        """As well as is worth it, or as the program is that is there, where that is better."""
        least = effort_for(family.structure, group)
        there = [shape.effort for shape in self._shapes.of(family.structure.key)]
        return min((effort for effort in there if effort >= least), default=least)

    def _as_there(self, form: Form, family: Family, group: _Group, each: float) -> Form:
        """That form, with the lanes of a program that is there where few would be idle."""
        lanes = form.lanes
        there = [
            shape.lanes
            for shape in self._shapes.of(family.structure.key)
            if shape.effort is form.effort
            and lanes <= shape.lanes
            and has_room(group[0], shape.lanes * each, self._room)
            and may_idle(family.structure, group[0], shape.lanes - lanes)
        ]
        return replace(form, lanes=min(there, default=lanes))

    def _among_others(self, member: Member) -> list[Part]:
        """A lone fit in a lane of a program that is there."""
        if member.sees_every_epoch or member.request.validation is not None:
            return []

        def has_program(structure: Structure) -> bool:
            return bool(self._shapes.of(structure.key))

        for family in self._families.with_another(member.structure, has_program):
            known = self._shapes.of(family.structure.key)
            least = min(known, key=lambda shape: shape.lanes)
            each = bytes_of(family, member)
            fits = has_room(member, each * least.lanes, self._room)
            if fits and may_idle(family.structure, member, least.lanes - 1):
                form = Form("stacked", least.lanes, least.effort, True)
                return [Part(form, family, [member], each)]
        return []

    def _by_one(self, members: _Group) -> list[Part]:
        """One at a time, in programs for all that differ in scalars alone."""
        parts = []
        for alike in grouped(members, lambda member: (_size(member), skeleton(member.structure))):
            family = self._families.of([member.structure for member in alike])
            if family is not None:
                parts += self._formed(family, alike)
                continue
            for same in grouped(alike, lambda member: member.structure.key):
                parts += self._formed(Family.of_one(same[0].structure), same)
        return parts

    def _cheapest(self, groups: list[_Group]) -> list[_Group]:
        """Neighbours by size, woven together where that is expected to take less time."""
        if len(groups) < 2:
            return groups
        together = [member for group in groups for member in group]
        seconds = self._seconds(together)
        middle = len(groups) // 2
        if seconds <= least_seconds(groups[:middle]) + least_seconds(groups[middle:]):
            return [together]  # without weaving the halves, only to see what they would take
        apart = [*self._cheapest(groups[:middle]), *self._cheapest(groups[middle:])]
        if seconds <= sum(self._seconds(group) for group in apart):
            return [together]
        return apart

    def _seconds(self, members: _Group) -> float:
        family = self._family(members)
        return seconds_together(family.structure, members) if family else float("inf")

    def _family(self, members: _Group) -> Family | None:
        if not members:
            return None
        return self._families.of([member.structure for member in members], one_step=True)

    def _formed(self, family: Family, members: _Group) -> list[Part]:
        each = bytes_of(family, members[0])
        formed = choose_forms(
            family.structure, members, each, self._forced, self._room, self._to_the_bit
        )
        return [Part(form, family, some, each) for form, some in formed]


def bytes_of(family: Family, member: Member) -> float:
    """What a lane takes."""
    state = family.places[member.structure.key].put(member.state)
    size = member.request.batch_size
    return bytes_of_lane(state, family.structure.train.work(size, size))


def _batches(member: Member) -> tuple[int, Hashable]:
    """What fits of one program have to have in common."""
    request, held = member.request, member.request.validation
    n_batches = -(-len(request.training) // request.batch_size)
    return n_batches, (
        -(-len(held) // request.validation_batch_size) if held else None,
        request.validation_freq,
        request.initial_epoch % request.validation_freq,
    )


def _size(member: Member) -> Hashable:
    request, held = member.request, member.request.validation
    return (
        request.batch_size,
        len(request.training),
        len(held) if held else None,
        request.validation_freq,
        request.initial_epoch % request.validation_freq,
    )
