"""Fits that go the same way, some of them farther: one is trained, the others leave on the way.

Fits that are equal but for the number of their epochs start from the same values and take the same
batches, so each is the beginning of the longest. Nothing in a program knows how many epochs there
will be; what callbacks know is another matter, and fits with callbacks are trained by themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from .grouping import grouped
from .members import Member
from .rows import Rows, leaves

Followers = dict[Member, list[Member]]


def leads(members: Sequence[Member]) -> tuple[list[Member], Followers]:
    """The fits to train, and those that each of them is longer than, or equal to."""
    trained: list[Member] = []
    followers: Followers = {}
    for alike in grouped(members, lambda member: _data(member, _address)):
        for same in grouped(alike, _start) if len(alike) > 1 else [alike]:
            lead = max(same, key=lambda member: member.request.epochs)
            trained.append(lead)
            others = [member for member in same if member is not lead]
            if others:
                followers[lead] = others
    place = {member: n for n, member in enumerate(members)}
    return sorted(trained, key=place.__getitem__), followers


def way_of(member: Member, content: Callable[[np.ndarray], Hashable]) -> Hashable | None:
    """Equal for fits that are equal but for ``epochs``, whenever they come; None with callbacks.

    ``content`` is equal for arrays of equal content.
    """
    if type(member) is not Member:
        return None
    return _data(member, content), _start(member)


def _address(array: np.ndarray) -> int:
    return id(array)


def _data(member: Member, content: Callable[[np.ndarray], Hashable]) -> Hashable:
    """What can be told without a look at the state."""
    request = member.request
    if type(member) is not Member:
        return id(member)
    held = request.validation
    return (
        member.structure.key,
        _arrays(request.training, content),
        _arrays(held, content) if held else None,
        request.seed,
        request.shuffle,
        request.initial_epoch,
        request.batch_size,
        request.validation_batch_size,
        request.validation_freq,
    )


def _arrays(rows: Rows, content: Callable[[np.ndarray], Hashable]) -> Hashable:
    return tuple(content(array) for array in leaves((rows.x, rows.y, rows.sample_weight)))


def _start(member: Member) -> Hashable:
    """The values that training starts from."""
    digest = hashlib.sha256()
    state = member.state
    for value in (*state.trainable, *state.non_trainable, *state.optimizer):
        digest.update(np.asarray(value).tobytes())
    return digest.digest()
