"""Which fits share a program, and in which form: members cut into the parts that cohorts train.

Fits of one structure do, and so do those whose structures differ in scalars alone. Others are woven
together (:mod:`.lifting.weaving`) where preparing one larger program, and what it computes in vain,
takes less time than preparing several.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from .costs import Form, choose_forms, may_round, seconds_together, work_of_epoch
from .grouping import grouped
from .lifting.families import Families, Family, frame, skeleton
from .members import Member
from .room import bytes_of_lane

_Group = list[Member]


@dataclass(frozen=True, eq=False)
class Part:
    """Members that are trained together, the family that they are of, and how."""

    form: Form
    family: Family
    members: list[Member]


class Cutting:
    """Cuts members of any structures and sizes into cohorts, each with its form.

    Parameters
    ----------
    families : Families
    forced : {"stacked", "loop", "steps"} or None
        None chooses.
    room : float
        Bytes that programs and data may take on the device.
    to_the_bit : bool
        Only what gives Keras's own numbers, unless a form is forced.
    """

    def __init__(
        self, families: Families, forced: str | None, room: float, to_the_bit: bool
    ) -> None:
        self._families, self._forced = families, forced
        self._room, self._to_the_bit = room, to_the_bit

    def parts(self, members: Sequence[Member]) -> list[Part]:
        cut: list[Part] = []
        for group in grouped(members, _size):
            woven = [member for member in group if self._may_be_woven(member)]
            own = [member for member in group if not self._may_be_woven(member)]
            for alike in grouped(own, lambda member: member.structure.key):
                cut += self._formed(Family.of_one(alike[0].structure), alike)
            for alike in grouped(woven, lambda member: frame(member.structure)):
                cut += self._woven(alike)
        return cut

    def _may_be_woven(self, member: Member) -> bool:
        free = may_round(member.structure, member, self._to_the_bit)
        return free and not member.needs_all_variables

    def _woven(self, members: _Group) -> list[Part]:
        """Members of one size and with equal batches, which may be rounded otherwise."""
        plain = grouped(members, lambda member: skeleton(member.structure))
        plain.sort(key=lambda group: work_of_epoch(group[0].structure, group[0]).elements)
        parts: list[Part] = []
        for group in self._cheapest(plain) if self._forced in (None, "stacked") else plain:
            family = self._family(group)
            formed = self._formed(family, group) if family else []
            if not formed or any(_wasteful(part) for part in formed):
                formed = []
                for alike in grouped(group, lambda member: skeleton(member.structure)):
                    own = self._family(alike)
                    formed += self._formed(own, alike) if own else self._by_structure(alike)
            parts += formed
        return parts

    def _by_structure(self, members: _Group) -> list[Part]:
        return [
            part
            for alike in grouped(members, lambda member: member.structure.key)
            for part in self._formed(Family.of_one(alike[0].structure), alike)
        ]

    def _cheapest(self, groups: list[_Group]) -> list[_Group]:
        """Neighbours by size, woven together where that is expected to take less time."""
        if len(groups) < 2:
            return groups
        middle = len(groups) // 2
        apart = [*self._cheapest(groups[:middle]), *self._cheapest(groups[middle:])]
        together = [member for group in groups for member in group]
        if self._seconds(together) <= sum(self._seconds(group) for group in apart):
            return [together]
        return apart

    def _seconds(self, members: _Group) -> float:
        family = self._family(members)
        return seconds_together(family.structure, members) if family else float("inf")

    def _family(self, members: _Group) -> Family | None:
        return self._families.of([member.structure for member in members])

    def _formed(self, family: Family, members: _Group) -> list[Part]:
        structure, first = family.structure, members[0]
        step = structure.train.whole or structure.train.rest
        assert step is not None
        bytes_each = bytes_of_lane(family.places[first.structure.key].put(first.state), step.work)
        formed = choose_forms(
            structure, members, bytes_each, self._forced, self._room, self._to_the_bit
        )
        return [Part(form, family, some) for form, some in formed]


def _wasteful(part: Part) -> bool:
    """Whether a program for models of several kinds would be run for one fit at a time."""
    return part.form.lanes == 1 and not part.family.is_plain


def _size(member: Member) -> Hashable:
    request, held = member.request, member.request.validation
    return (
        len(request.training),
        len(held) if held else None,
        request.validation_freq,
        request.initial_epoch % request.validation_freq,
    )
