"""Fits in programs of their own, which those share that differ in scalars alone."""

from __future__ import annotations

from collections.abc import Hashable

from .choice import choose_forms
from .grouping import grouped
from .lifting.families import Family, skeleton
from .members import Member
from .part import Part, bytes_of
from .terms import Terms


class OwnPrograms:
    """Cuts members without weaving models of different shapes."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def of_equal(self, members: list[Member]) -> list[Part]:
        """Members of any structures, each structure just as it was traced."""
        parts = []
        for alike in grouped(members, lambda member: (_size(member), member.structure.key)):
            parts += self._formed(Family.of_one(alike[0].structure), alike)
        return parts

    def of_alike(self, members: list[Member]) -> list[Part]:
        """Members that may be woven, with those that differ from them in scalars alone."""
        parts = []
        for alike in grouped(members, lambda member: (_size(member), skeleton(member.structure))):
            family = self._terms.families.of([member.structure for member in alike])
            parts += self.of_equal(alike) if family is None else self._formed(family, alike)
        return parts

    def _formed(self, family: Family, members: list[Member]) -> list[Part]:
        each, terms = bytes_of(family, members[0]), self._terms
        formed = choose_forms(
            family.structure, members, each, terms.forced, terms.room, terms.to_the_bit
        )
        return [Part(form, family, some, each) for form, some in formed]


def _size(member: Member) -> Hashable:
    request, held = member.request, member.request.validation
    return (
        request.batch_size,
        len(request.training),
        len(held) if held else None,
        request.validation_rhythm,
    )
