"""Members that are trained together: what the ways to share a program find, and cohorts train."""

from __future__ import annotations

from dataclasses import dataclass, field

from .choice import Form
from .lifting.families import Family
from .members import Member
from .room import bytes_of_lane
from .trajectories import Followers


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


def bytes_of(family: Family, member: Member) -> float:
    """What a lane takes."""
    state = family.places[member.structure.key].put(member.state)
    size = member.request.batch_size
    return bytes_of_lane(state, family.structure.train.work(size, size))
