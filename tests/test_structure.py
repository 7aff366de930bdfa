"""Imports go down the floors only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import amalthea

ROOT = Path(amalthea.__file__).parent
FLOORS = {
    "search": 3,
    "estimators": 2,
    "rendezvous": 2,
    "engine": 1,
    "routing": 0,
    "arguments": 0,
    "backend": 0,
    "errors": 0,
    "inputs": 0,
    "privates": 0,
    "randomness": 0,
}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py")


def _imports(path: Path) -> set[str]:
    """Modules of this package that a file imports, as dotted names below the package."""
    here = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {".".join([*base, name]) for name in names}
    return {name for name in found if name.partition(".")[0] in FLOORS}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_its_floor_or_below(path: Path) -> None:
    here = path.relative_to(ROOT).with_suffix("").parts[0]
    for name in _imports(path):
        there = name.partition(".")[0]
        assert FLOORS[there] < FLOORS[here] or there == here or FLOORS[here] == 0, name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_knows_nothing_of_scikit_learn(path: Path) -> None:
    if path.relative_to(ROOT).parts[0] == "engine":
        assert "sklearn" not in path.read_text()


def test_no_module_imports_itself_through_others() -> None:
    graph = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): _imports(path) for path in MODULES
    }

    def reaches(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = list(graph[start])
        while ahead:
            name = ahead.pop()
            if name not in seen:
                seen.add(name)
                ahead.extend(graph.get(name, ()))
        return seen

    assert [name for name in graph if name in reaches(name)] == []
