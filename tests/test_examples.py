"""The examples, and every block of Python in the documentation, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _run(program: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", program],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(path: Path, tmp_path: Path) -> None:
    assert _run(path.read_text(), tmp_path, AMALTHEA_QUICK="1").strip()


@pytest.mark.slow
def test_the_demo_reaches_the_accuracy_it_should() -> None:
    out = _run((ROOT / "examples" / "iris_grid_search.py").read_text(), ROOT)
    accuracies = [float(v) for v in re.findall(r"(?i)test accuracy\D*([01]\.\d+)", out)]
    assert len(accuracies) >= 2 and accuracies[-1] > 0.9
    assert re.search("(?i)best parameters", out) and re.search("(?i)best score", out)


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_blocks_of_a_page_run_in_order(path: Path, tmp_path: Path) -> None:
    blocks = _BLOCK.findall(path.read_text())
    if blocks:
        _run("\n".join(blocks), tmp_path)


def test_docstring_examples_of_the_public_names_run() -> None:
    import doctest

    from amalthea import inputs
    from amalthea.estimators import classifier, regressor

    for module in (inputs, classifier, regressor):
        assert doctest.testmod(module).failed == 0
