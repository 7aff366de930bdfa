"""Which equations of several programs are the same step of the same computation.

Programs of models that differ in an activation, an optimizer or a layer have long stretches in
common. Any alignment that keeps the order in each of them gives an exact program; a better one
gives a shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from .equations import Equation
from .flat import Flat

Joint = dict[int, Equation]  # the equation of each variant that takes part


def align(programs: Sequence[Flat]) -> list[Joint]:
    """Equations of all programs, those that are alike together, each program's in its order."""
    spelled = [program.signatures for program in programs]
    joints = [{0: equation} for equation in programs[0].equations]
    signs = list(spelled[0])
    places = [list(range(len(signs)))]  # of each program's equations among the joints
    for variant in range(1, len(programs)):
        program, own = programs[variant], spelled[variant]
        twin = next((n for n in range(variant) if spelled[n] == own), None)
        if twin is not None:
            places.append(list(places[twin]))
            for place, equation in zip(places[twin], program.equations, strict=True):
                joints[place][variant] = equation
            continue
        joints, signs, places = _with_another(variant, program, own, joints, signs, places)
    return joints


def _with_another(
    variant: int,
    program: Flat,
    own: Sequence[Any],
    joints: list[Joint],
    signs: list[Any],
    places: list[list[int]],
) -> tuple[list[Joint], list[Any], list[list[int]]]:
    numbers: dict[Any, int] = {}
    known, new = ([numbers.setdefault(s, len(numbers)) for s in some] for some in (signs, own))
    woven: list[Joint] = []
    woven_signs: list[Any] = []
    moved: dict[int, int] = {}
    mine: list[int] = []
    for _, i, i_end, j, j_end in SequenceMatcher(None, known, new, autojunk=False).get_opcodes():
        together = i_end - i if _ == "equal" else 0
        for step in range(i_end - i):
            moved[i + step] = len(woven)
            joint = joints[i + step]
            if together:
                mine.append(len(woven))
                joint = {**joint, variant: program.equations[j + step]}
            woven.append(joint)
            woven_signs.append(signs[i + step])
        for step in range(0 if together else j_end - j):
            mine.append(len(woven))
            woven.append({variant: program.equations[j + step]})
            woven_signs.append(own[j + step])
    return woven, woven_signs, [[moved[at] for at in one] for one in places] + [mine]
