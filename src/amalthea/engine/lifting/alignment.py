"""Which equations of several programs are the same step of the same computation.

Programs of models that differ in an activation, an optimizer or a layer have long stretches in
common. Any alignment that keeps the order in each of them gives an exact program; a better one
gives a shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from .flat import Equation, Flat, Number

Joint = dict[int, Equation]  # the equation of each variant that takes part

# Parameters that only repeat the shapes of what goes in or comes out, or where an axis is cut.
_SHAPES = {
    "broadcast_in_dim": {"shape", "sharding"},
    "reshape": {"new_sizes", "sharding", "dimensions"},
    "iota": {"shape", "sharding"},
    "random_bits": {"shape"},
    "slice": {"start_indices", "limit_indices"},
    "split": {"sizes"},
    "gather": {"slice_sizes"},
    "pad": {"padding_config"},
}


def align(programs: Sequence[Flat]) -> list[Joint]:
    """Equations of all programs, those that are alike together, each program's in its order."""
    spelled = [[signature(equation) for equation in program.equations] for program in programs]
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


def signature(equation: Equation) -> tuple[Any, ...]:
    """What an equation does, whatever the sizes of its arrays."""
    left_out = _SHAPES.get(equation.name, set())
    parameters = [(n, str(v)) for n, v in sorted(equation.parameters.items()) if n not in left_out]
    return (
        equation.name,
        tuple(parameters),
        tuple((len(a.shape), str(a.dtype)) for a in (*equation.takes, *equation.gives)),
        tuple(isinstance(atom, Number) for atom in equation.inputs),
    )
