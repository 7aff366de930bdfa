"""Fits that gain nothing from others beside them, one after the other in few programs."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from .buckets import Bucket, Group, buckets
from .choice import Form, best_effort, effort_for
from .costs import seconds_in_turns, seconds_to_prepare, work_of_epoch
from .effort import Effort
from .lifting.families import Family
from .own_programs import OwnPrograms
from .part import Part, bytes_of
from .structures import Structure
from .terms import Terms


class Turns:
    """Finds the programs that groups, each of one skeleton, take turns in.

    ``own`` is for those that share none.
    """

    def __init__(self, terms: Terms, own: OwnPrograms) -> None:
        self._families, self._shapes, self._own = terms.families, terms.shapes, own
        self._may_choose = terms.forced is None

    def parts(self, groups: Sequence[Group]) -> list[Part]:
        parts: list[Part] = []
        new = []
        for group in groups:
            if not self._may_share(group):
                parts += self._own.of_alike(group)
            elif there := self._in_a_program_that_is_there(group):
                parts += there
            else:
                new.append(group)
        for bucket in buckets(new, stacked=False):
            parts += self._in_a_new_program(bucket)
        return parts

    def _may_share(self, group: Group) -> bool:
        work = work_of_epoch(group[0].structure, group[0])
        return self._may_choose and not work.convolves and jax.default_backend() == "cpu"

    def _in_a_program_that_is_there(self, group: Group) -> list[Part]:
        """None, if what it computes in vain takes longer than to prepare another."""
        structures = [member.structure for member in group]

        def may_serve(family: Family) -> bool:
            known = self._shapes.of(family.structure.key, stacked=False)
            return bool(known) and family.has_room_for(group[0].state.trainable)

        own = _seconds(group[0].structure, group)
        for family in self._families.with_others(structures, may_serve):
            effort = self._effort(family, group)
            preparing = seconds_to_prepare(family.structure, effort=effort)
            if seconds_in_turns(family.structure, group, effort) - preparing < own:
                return self._one_by_one(family, group)
        return []

    def _in_a_new_program(self, bucket: Bucket) -> list[Part]:
        """One for all of a bucket, if that takes less time than several; a group may have its own.

        In the program of a family, whole and short batches are one step.
        """
        family = self._families.of([m.structure for m in bucket.members], one_step=True)
        apart = sum(_seconds(group[0].structure, group) for group in bucket.groups)
        if family is not None and _seconds(family.structure, bucket.members) <= apart:
            return self._one_by_one(family, bucket.members)
        if len(bucket.groups) > 1:
            return [part for half in bucket.halves() for part in self._in_a_new_program(half)]
        return self._own.of_alike(bucket.members)

    def _one_by_one(self, family: Family, members: Group) -> list[Part]:
        form = Form("loop", 1, self._effort(family, members), True)
        each = bytes_of(family, members[0])
        return [Part(form, family, [member], each) for member in members]

    def _effort(self, family: Family, members: Group) -> Effort:
        known = self._shapes.of(family.structure.key, stacked=False)
        return best_effort(effort_for(family.structure, members), known)


def _seconds(structure: Structure, members: Group) -> float:
    """What they take in a program that is yet to be prepared."""
    return seconds_in_turns(structure, members, effort_for(structure, members))
