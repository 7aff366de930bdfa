"""Fits that are trained at once in lanes of one program, of models that are woven together.

They are woven (:mod:`.lifting.weaving`) where preparing one larger program, and what it computes in
vain, takes less time than preparing several.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from .buckets import Bucket, Group, buckets
from .choice import Form, best_effort, effort_for, has_room, in_stacks, may_idle, most_lanes
from .costs import least_seconds, seconds_together
from .grouping import grouped
from .lifting.families import Family
from .members import Member
from .own_programs import OwnPrograms
from .part import Part, bytes_of
from .terms import Terms


class Stacks:
    """Finds the programs that groups, each of one skeleton, are stacked in.

    ``own`` is for those that share none. Where stacks are the user's choice, a lone fit is one.
    """

    def __init__(self, terms: Terms, own: OwnPrograms) -> None:
        self._families, self._shapes, self._own = terms.families, terms.shapes, own
        self._room, self._stacks_lone_fits = terms.room, terms.forced == "stacked"

    def parts(self, groups: Sequence[Group]) -> list[Part]:
        parts: list[Part] = []
        woven = [one for bucket in buckets(groups, stacked=True) for one in self._woven(bucket)]
        several = [bucket for bucket in woven if self._family(bucket.members) is not None]
        for bucket in woven:
            if bucket not in several:
                parts += self._own.of_alike(bucket.members)
        for group in self._cheapest(sorted(several, key=lambda bucket: bucket.each_of_room)):
            family = self._family(group)
            if family is not None and (len(group) > 1 or self._stacks_lone_fits):
                parts += self._stacked(family, group)
            else:
                parts += self._among_others(group[0]) or self._own.of_alike(group)
        return parts

    def _woven(self, bucket: Bucket) -> list[Bucket]:
        """A bucket, or smaller ones of what can be woven."""
        if len(bucket.groups) == 1 or self._family(bucket.members) is not None:
            return [bucket]
        return [one for half in bucket.halves() for one in self._woven(half)]

    def _cheapest(self, ahead: list[Bucket]) -> list[Group]:
        """Neighbours by size, woven together where that is expected to take less time."""
        together = [member for bucket in ahead for member in bucket.members]
        if len(ahead) < 2:
            return [together] if ahead else []
        seconds = float("inf")
        if least_seconds(together) <= sum(bucket.seconds for bucket in ahead):
            seconds = self._seconds(together)
        middle = len(ahead) // 2
        halves = ahead[:middle], ahead[middle:]
        least = (least_seconds([m for bucket in half for m in bucket.members]) for half in halves)
        if seconds <= sum(least):
            return [together]  # without weaving the halves, only to see what they would take
        apart = [group for half in halves for group in self._cheapest(half)]
        if seconds <= sum(self._seconds(group) for group in apart):
            return [together]
        return apart

    def _seconds(self, members: Group) -> float:
        family = self._family(members)
        return seconds_together(family.structure, members) if family else float("inf")

    def _family(self, members: Group) -> Family | None:
        return self._families.of([member.structure for member in members], one_step=True)

    def _stacked(self, family: Family, group: Group) -> list[Part]:
        """Fits with equally many batches in a program; all these programs are one, if they can."""
        parts = []
        known = self._shapes.of(family.structure.key)
        effort = best_effort(effort_for(family.structure, group), known)
        # The one with most batches first: its program has room for the others.
        for alike in sorted(grouped(group, _batches), key=lambda some: _batches(some[0])[0])[::-1]:
            each = bytes_of(family, alike[0])
            formed = in_stacks(alike, each, Form("stacked", 1, effort, True), self._room)
            if not formed:
                parts += self._own.of_alike(alike)
                continue
            form = self._as_others([form for form, _ in formed], family, alike, each)
            parts += [Part(form, family, some, each) for _, some in formed]
        return parts

    def _as_others(self, forms: Sequence[Form], family: Family, group: Group, each: float) -> Form:
        """One form for all parts of a group, with the lanes of a program that is there.

        Or, of a group that is cut into parts, with as many lanes as there can be: later parts will
        have them. But not where too much would be computed in vain.
        """
        form = max(forms, key=lambda form: form.lanes)
        known = self._shapes.of(family.structure.key)
        there = [shape.lanes for shape in known if shape.effort is form.effort]
        others = there if len(forms) == 1 else [*there, most_lanes()]
        can_be_had = [
            lanes
            for lanes in others
            if lanes >= form.lanes
            and has_room(group[0], lanes * each, self._room)
            and may_idle(family.structure, group[0], (lanes - form.lanes) * len(forms))
        ]
        return replace(form, lanes=min(can_be_had, default=form.lanes))

    def _among_others(self, member: Member) -> list[Part]:
        """A lone fit in a lane of a program that is there."""
        if member.sees_every_epoch or member.request.validation is not None:
            return []

        def has_program(family: Family) -> bool:
            return bool(self._shapes.of(family.structure.key))

        for family in self._families.with_others([member.structure], has_program):
            known = self._shapes.of(family.structure.key)
            least = min(known, key=lambda shape: shape.lanes)
            each = bytes_of(family, member)
            fits = has_room(member, each * least.lanes, self._room)
            if fits and may_idle(family.structure, member, least.lanes - 1):
                form = Form("stacked", least.lanes, least.effort, True)
                return [Part(form, family, [member], each)]
        return []


def _batches(member: Member) -> tuple[int, Hashable]:
    """What fits of one program have to have in common."""
    request, held = member.request, member.request.validation
    of_held = -(-len(held) // request.validation_batch_size) if held else None
    return request.n_batches, (of_held, request.validation_rhythm)
