"""Whether those who do other work are found out, and how figures become tables and pictures."""

from __future__ import annotations

import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCH = Path(__file__).parent.parent / "bench"
if str(BENCH) not in sys.path:
    sys.path.append(str(BENCH))

import agreement  # noqa: E402
import flame  # noqa: E402
import parts  # noqa: E402
import results  # noqa: E402
import summaries  # noqa: E402
import where_time_goes  # noqa: E402
from compilations import covered  # noqa: E402
from peers.registry import PEERS  # noqa: E402
from rounds import Runs  # noqa: E402
from where_time_goes import part_of, shares  # noqa: E402
from workloads import WORKLOADS  # noqa: E402

SITE_PACKAGES = sysconfig.get_path("purelib")
TUTORIAL = WORKLOADS["tutorial"]
PART = parts.Part((1, 4), 1)
# What Amalthea's runs on `tutorial` reached under three seeds: candidates by folds. A small network
# on iris is as noisy as that.
OURS = [
    [[0.68, 0.65, 0.65], [0.25, 0.35, 0.28], [0.98, 0.85, 0.98], [0.78, 0.75, 0.80]]
    + [[0.98, 0.78, 0.85], [0.98, 0.78, 0.95]],
    [[0.55, 0.38, 0.58], [0.85, 0.65, 0.73], [0.55, 0.65, 0.48], [0.33, 0.40, 0.35]]
    + [[0.78, 0.75, 0.75], [0.68, 0.70, 0.65]],
    [[0.33, 0.33, 0.35], [0.95, 0.75, 0.95], [0.88, 0.80, 0.93], [0.68, 0.65, 0.65]]
    + [[0.60, 0.65, 0.60], [0.80, 0.75, 0.83]],
]


def _outcome(epochs: Any, scores: Any, seconds: float = 2.0, **more: Any) -> dict[str, Any]:
    """One after another, of equal length; how many steps they took is not told."""
    each, n_folds = seconds / np.size(epochs), len(epochs[0])
    begins = each * np.arange(np.size(epochs)).reshape(-1, n_folds)
    return {
        **{"epochs": epochs, "scores": scores, "seconds": seconds, "processes": []},
        **{"spans": np.stack([begins, begins + each], axis=-1).tolist()},
        **{"steps": [[None] * n_folds for _ in epochs]},
        **{"process": seconds + 3, "imports": 1.0, "peak": 5e8, "more": more},
    }


def test_fewer_epochs_than_asked_are_told() -> None:
    ran = _outcome([[100], [1]], [[0.9], [0.9]])
    assert "ran epochs [1, 100]" in agreement.work_differences(TUTORIAL, PART, ran)[0]
    ran["epochs"] = [[100], [100]]
    assert not agreement.work_differences(TUTORIAL, PART, ran)


def test_a_missing_fold_is_told() -> None:
    ran = _outcome([[100]], [[0.9]])
    assert agreement.work_differences(TUTORIAL, parts.Part((1,), 2), ran)


def test_fewer_steps_than_asked_are_told_where_a_peer_can_tell() -> None:
    """80 rows in batches of 32 are three steps; who takes all rows at once takes one."""
    ran = _outcome([[100], [100]], [[0.9], [0.9]])
    ran["steps"] = [[None], [100]]
    told = agreement.work_differences(TUTORIAL, PART, ran)[0]
    assert "took steps [100, 300]" in told and "asked [300]" in told
    ran["steps"] = [[300], [None]]
    assert not agreement.work_differences(TUTORIAL, PART, ran)


def test_one_fit_on_all_rows_is_checked_like_others() -> None:
    single = WORKLOADS["single"]
    ran = _outcome([[100]], [[0.9]])
    ran["steps"] = [[400]]
    assert not agreement.work_differences(single, parts.whole(single), ran)
    ran["scores"] = []
    assert agreement.work_differences(single, parts.whole(single), ran)


def test_scores_that_are_not_numbers_are_told() -> None:
    ran = _outcome([[100], [100]], [[0.9], [float("nan")]])
    assert "not finite" in agreement.work_differences(TUTORIAL, PART, ran)[0]


def test_the_runs_of_another_seed_agree() -> None:
    for number, one in enumerate(OURS):
        others = [run for run in OURS if run is not one]
        told = agreement.comparisons(parts.whole(TUTORIAL), others, [one])
        assert all(comparison.agrees for comparison in told), number


def test_who_only_guesses_is_found_out_on_few_candidates_of_one_fold() -> None:
    """A third is right by chance, on a workload as noisy as any of ours."""
    part = parts.Part((2, 4, 5), 1)
    guesses = [[[0.33]] * 3] * 2
    mean, _ = agreement.comparisons(part, OURS, guesses)
    assert not mean.agrees and mean.tolerance < 0.5


def test_what_is_within_the_noise_of_one_workload_is_not_within_that_of_many() -> None:
    short = agreement.Comparison("mean", 0.80, 0.70, 0.15)
    assert short.agrees and agreement.overall([short] * 2).agrees
    assert not agreement.overall([short] * 9).agrees


def test_quiet_candidates_are_judged_by_the_noise_of_all() -> None:
    runs = np.array([[[0.5, 0.5], [seed, seed]] for seed in (0.2, 0.5, 0.8)])
    quiet = agreement.noise(runs, parts.Part((0,), 1), np.mean)
    assert quiet == pytest.approx(0.3 / 2**0.5)


def test_a_noisy_candidate_is_judged_by_its_own_noise() -> None:
    runs = np.array([[[0.5, 0.5], [seed, seed]] for seed in (0.2, 0.5, 0.8)])
    assert agreement.noise(runs, parts.Part((1,), 1), np.mean) == pytest.approx(0.3)


def test_candidates_that_rise_and_fall_together_are_as_noisy_as_one() -> None:
    runs = np.array([[[seed], [seed], [seed], [seed]] for seed in (0.2, 0.5, 0.8)])
    assert agreement.noise(runs, parts.Part((0, 1, 2, 3), 1), np.mean) == pytest.approx(0.3)


def test_candidates_that_happened_to_make_up_for_each_other_are_not_without_noise() -> None:
    runs = np.array([[[seed], [1 - seed]] for seed in (0.2, 0.5, 0.8)])
    assert agreement.noise(runs, parts.Part((0, 1), 1), np.mean) == pytest.approx(0.3 / 2**0.5)


def test_seconds_covered_twice_count_once() -> None:
    assert covered([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0), (5.2, 5.4)]) == 4.0
    assert covered([]) == 0.0


def _figures(peer: str, part: parts.Part, outcome: dict[str, Any]) -> dict[str, Any]:
    ours = Runs(PEERS["amalthea"], TUTORIAL, parts.whole(TUTORIAL), parts.whole(TUTORIAL))
    ours.outcomes = [_outcome([[100] * 3] * 6, scores, programs_=4) for scores in OURS]
    if peer == "amalthea":
        return summaries.figures_of(ours, ours)
    return summaries.figures_of(Runs(PEERS[peer], TUTORIAL, part, part, [outcome]), ours)


def test_figures_of_a_part_are_those_of_the_whole() -> None:
    """The first fit pays for the process; each of the 16 others is taken for the second."""
    jax = {"compile": 1.5, "executables": 7, "of_fits": [[1.0], [0.5]]}
    figures = _figures("keras", PART, _outcome([[100]] * 2, [[0.7], [0.8]], jax=jax))
    assert figures["seconds"] == [18.0] and figures["process"] == 21.0
    assert (figures["compile"], figures["run"], figures["executables"]) == (9.5, 8.5, 7)
    assert figures["mean_score"] == 0.75 and figures["best_score"] == 0.8
    assert figures["fits_measured"] == 2 and figures["tolerance"] > agreement.FLOOR


def test_where_nothing_is_compiled_all_time_is_the_rest() -> None:
    jax = {"compile": 0.0, "executables": 0, "of_fits": [[0.0], [0.0]]}
    figures = _figures("keras", PART, _outcome([[100]] * 2, [[0.7], [0.8]], jax=jax))
    assert (figures["compile"], figures["run"]) == (0.0, 18.0)
    untold = _figures("mlp", PART, _outcome([[100]] * 2, [[0.7], [0.8]]))
    assert (untold["compile"], untold["run"]) == (None, None)


def test_versions_that_differ_between_environments_are_all_told() -> None:
    told = {"keras": {"keras": "3.15", "numpy": "2.4"}, "skorch": {"numpy": "2.3"}}
    assert results.versions(told) == ["keras 3.15", "numpy 2.4 (keras)", "numpy 2.3 (skorch)"]


def test_curves_tell_how_many_fits_were_measured_and_leave_room_for_those_that_failed() -> None:
    point = {"x": 10, "peer": "keras", "seconds": 2.0, "peak_mb": None, "fits_measured": 4}
    ours = {"x": 20, "peer": "amalthea", "seconds": 1.0, "peak_mb": 50, "fits_measured": 20}
    page = results.markdown(_found() | {"growth": {"fits": [point, ours]}})
    assert "| 10 | 2 | - | 4 | - | - | - |" in page and "| 20 | - | - | - | 1 | 50 | 20 |" in page


def test_a_table_shows_ratios_parts_programs_and_dashes() -> None:
    found = _found()
    page = results.markdown(found)
    assert "| tutorial (18 fits) | 2 s | 18 s, ×9 | - |" in page
    assert "2 of 18, scaled up" in page
    amalthea = next(line for line in page.splitlines() if line.startswith("| Amalthea | 2 |"))
    assert " | 4 | " in amalthea
    assert "`make bench`" in page and "2026-01-01" in page


def test_troubles_stand_above_the_tables() -> None:
    page = results.markdown(_found() | {"disagreements": ["tutorial, Optuna: ran epochs [1]"]})
    assert page.index("Not a fair comparison") < page.index("| workload |")


def test_how_far_each_peer_is_from_the_peak_is_told_where_arithmetic_is_the_limit() -> None:
    found = _found()
    found["workloads"]["tutorial"]["operations"] = 1e9
    assert "1 s, ×0.5" in results.markdown(found)


def _found() -> dict[str, Any]:
    peers = {name: _figures(name, PART, _outcome([[100]] * 2, [[0.7], [0.8]])) for name in _TWO}
    on = {"date": "2026-01-01", "cores": 2, "processor": "a CPU", "memory_gb": 8}
    on |= {"system": "Linux", "python": "3.11.7"}
    return {
        "mode": "full",
        "command": "make bench",
        "minutes": 30.0,
        "machine": on,
        "versions": {"keras": {"keras": "3.15.1"}},
        "peak": 1e9,
        "workloads": {"tutorial": {"title": "x", "fits": 18, "peers": peers, "operations": None}},
        "disagreements": [],
        "failed": [],
    }


_TWO = ("amalthea", "keras")


def test_the_page_keeps_what_stands_around_the_tables() -> None:
    page = f"before\n{results.BEGIN}old\n{results.END}after\n"
    new = results.between_marks(page, "new")
    assert new.startswith("before") and new.endswith("after\n")
    assert "new" in new and "old" not in new


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        ((("jax/_src/compiler.py", "backend_compile"),), "compile"),
        ((("sklearn/model_selection/_search.py", "fit"), ("json.py", "loads")), "scikit-learn"),
        ((("amalthea/engine/runs.py", "run"),), "run"),
        ((("jax/_src/interpreters/partial_eval.py", "t"), ("engine/runs.py", "run")), "trace"),
        ((("amalthea/search/together.py", "fit"),), "search"),
        ((("amalthea/engine/lifting/weaving.py", "woven"),), "lifting"),
        ((("elsewhere.py", "main"),), "other"),
    ],
)
def test_the_innermost_frame_that_tells_decides(stack: Any, part: str) -> None:
    assert part_of(stack) == part


def test_each_sign_of_a_part_names_a_file_and_a_function_that_exist() -> None:
    signs = [sign for _, several in where_time_goes.PARTS for sign in several]
    signs += [":".join(frame) for frame in where_time_goes.IDLE if "rendezvous" in frame[0]]
    for sign in signs:
        name, _, function = sign.partition(":")
        assert any(_has(file, function) for file in _named(name)), sign


def _named(name: str) -> Iterator[Path]:
    """Files of Amalthea's source or of the packages whose place begins as a sign says."""
    for root in (BENCH.parent / "src", BENCH.parent / "src/amalthea", Path(SITE_PACKAGES)):
        place = root / name
        yield from place.rglob("*.py") if place.is_dir() else filter(Path.exists, [place])


def _has(file: Path, function: str) -> bool:
    return not function or f"def {function}(" in file.read_text()


def test_shares_are_of_the_measured_seconds() -> None:
    stacks = Counter({(("sklearn/a.py", "f"),): 3, (("b.py", "g"),): 1})
    assert shares(stacks, 8.0) == [["scikit-learn", "6.00", "75 %"], ["other", "2.00", "25 %"]]


def test_a_flame_graph_is_as_wide_as_its_samples() -> None:
    outer = ("a.py", "f")
    stacks = Counter({(outer,): 3, (outer, ("b.py", "<g>")): 1})
    page = flame.page(stacks, "title", [["run", "1.00"]])
    assert page.count("<rect") == 2 and 'width="1200.0"' in page and 'width="300.0"' in page
    assert "&lt;g&gt;" in page and "<td>run" in page
