"""On what terms fits share programs."""

from __future__ import annotations

from dataclasses import dataclass

from .lifting.families import Families
from .run_shapes import RunShapes


@dataclass(frozen=True)
class Terms:
    """What there is to share, and what the caller wants.

    Parameters
    ----------
    families : Families
    shapes : RunShapes
        Of the programs that are there.
    forced : {"stacked", "loop", "steps"} or None
        The form that the caller wants; None chooses.
    room : float
        Bytes that programs and data may take on the device.
    to_the_bit : bool
        Only what gives Keras's own numbers, unless a form is forced.
    """

    families: Families
    shapes: RunShapes
    forced: str | None
    room: float
    to_the_bit: bool
