"""What a process knows: structures and families, their programs, and how far fits have come."""

from __future__ import annotations

from dataclasses import dataclass, field

from .lifting.families import Families
from .plan import Log
from .predictions import Predictions
from .programs import Programs
from .reached import Reached
from .run_shapes import RunShapes
from .stored_programs import StoredPrograms
from .stored_steps import StoredSteps
from .structures import Structures


@dataclass(frozen=True)
class Known:
    """Every engine of a process uses what another has traced or compiled."""

    structures: Structures = field(default_factory=lambda: Structures(StoredSteps.of_user()))
    families: Families = field(default_factory=Families)
    programs: Programs = field(default_factory=lambda: Programs(stored=StoredPrograms.of_user()))
    shapes: RunShapes = field(default_factory=RunShapes)
    reached: Reached = field(default_factory=Reached)
    log: Log = field(default_factory=Log)

    def predictions(self, to_the_bit: bool) -> Predictions:
        """Whoever predicts; ``to_the_bit`` as Keras does."""
        return Predictions(self.structures, self.families, self.programs, not to_the_bit)

    def forget(self) -> None:
        for part in (self.structures, self.families, self.programs, self.shapes, self.reached):
            part.clear()
