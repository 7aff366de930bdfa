"""What peers tell of the fits that they were given: epochs, steps, scores and times."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

BENCH = Path(__file__).parent.parent / "bench"
if str(BENCH) not in sys.path:
    sys.path.append(str(BENCH))

import lanes  # noqa: E402
import parts  # noqa: E402
from peers import grid_search, with_mlp  # noqa: E402
from peers.outcome import Told, second_of_two  # noqa: E402
from workloads import WORKLOADS  # noqa: E402

TUTORIAL, BATCHES = WORKLOADS["tutorial1"], WORKLOADS["brownlee-batches"]


def test_of_two_fits_the_second_is_measured_and_asked() -> None:
    fitted = iter(["first", "second"])
    asked = []

    def tell(model: str) -> Told:
        asked.append(model)
        return Told(100, 400, 0.9)

    outcome = second_of_two(lambda: next(fitted), tell)
    assert asked == ["second"]
    assert (outcome.epochs, outcome.steps, outcome.scores) == ([[100]], [[400]], [[0.9]])


def test_steps_that_take_time_to_read_are_read_after_the_search_of_one_fit_a_batch_size() -> None:
    settings = partial(with_mlp._settings, BATCHES)
    searched = grid_search.Searched(
        with_mlp._estimator,
        with_mlp._epochs,
        lambda estimator: 1000 + estimator.batch_size,
        settings,
        steps_take_time=True,
    )
    outcome = grid_search.run(searched, BATCHES, parts.Part((0, 3), 2))
    assert outcome.steps == [[1010, None], [1020, None]]
    assert outcome.epochs == [[10, 10], [10, 10]]


def test_a_search_tells_its_fits_one_after_another() -> None:
    outcome = with_mlp.run(TUTORIAL, parts.Part((0, 4), 2))
    times = [moment for row in outcome.spans for span in row for moment in span]
    assert times == sorted(times) and times[0] == outcome.started
    assert outcome.steps == [[None, None], [None, None]]


def test_the_hand_written_program_counts_its_batches() -> None:
    part = parts.Part((0, 17), 2)
    folds, candidates = part.folds_of(BATCHES), part.candidates_of(BATCHES)
    grid = lanes.Grid.of(BATCHES, BATCHES.data(), folds, candidates)
    rows = [len(train) for train, _ in folds]
    assert lanes.steps(grid) == [
        [10 * -(-n // 10) for n in rows],
        [100 * -(-n // 100) for n in rows],
    ]
    assert lanes.epochs(grid) == [[10, 10], [100, 100]]
