"""What a user may ask of a lockstep."""

from __future__ import annotations

from dataclasses import dataclass

from .. import arguments
from ..engine.forms import FORMS, Engine
from ..engine.trainer import Trainer
from ..errors import InvalidParameter


@dataclass(frozen=True)
class Options:
    """Options of :func:`amalthea.lockstep`, checked."""

    form: str | None = None
    max_memory: int | None = None

    def __post_init__(self) -> None:
        if self.form is not None and self.form not in FORMS:
            expected = ", ".join(map(repr, FORMS))
            raise InvalidParameter(f"form must be None or one of {expected}; got {self.form!r}.")
        if self.max_memory is not None:
            arguments.whole_number("max_memory", self.max_memory, least=1)

    def trainer(self) -> Trainer | None:
        """An engine that follows them; None when the current trainer will do."""
        if self == Options():
            return None
        return Engine(form=self.form, max_memory=self.max_memory)
