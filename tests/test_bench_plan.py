"""Who is measured on what part of which work, and what the whole is said to take."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "bench"
if str(BENCH) not in sys.path:
    sys.path.append(str(BENCH))

import parts  # noqa: E402
import plan  # noqa: E402
from networks import shape_of  # noqa: E402
from peers.registry import HOME, PEERS  # noqa: E402
from workloads import WORKLOADS  # noqa: E402

TUTORIAL = WORKLOADS["tutorial"]
BATCHES = WORKLOADS["brownlee-batches"]
ALL = range(6)


def test_the_workloads_have_as_many_fits_as_they_are_known_for() -> None:
    fits = {name: workload.n_fits for name, workload in WORKLOADS.items()}
    assert sum(n for name, n in fits.items() if name.startswith("brownlee-")) == 384
    known = {"tutorial": 18, "pipeline": 300, "tuner": 180, "images": 18, "wide": 27}
    known |= {"sequence": 12, "regression": 180, "many": 10_000, "table": 60, "single": 1}
    assert {name: fits[name] for name in known} == known


def test_seeds_change_no_data() -> None:
    other = replace(TUTORIAL, seed=1)
    assert (other.data()[0] == TUTORIAL.data()[0]).all()


def test_spread_numbers_stand_in_the_middle_of_equal_shares() -> None:
    assert parts.spread(6, 2) == (1, 4)
    assert parts.spread(3, 5) == (0, 1, 2)


def test_a_part_has_more_candidates_before_it_has_more_than_two_folds() -> None:
    part = parts.part_within(8.0, 1.0, TUTORIAL, ALL)
    assert len(part.candidates) == 4 and part.n_folds == 2
    all_on_two = parts.part_within(12.0, 1.0, TUTORIAL, ALL)
    assert sorted(all_on_two.candidates) == list(ALL) and all_on_two.n_folds == 2
    assert parts.part_within(100.0, 1.0, TUTORIAL, ALL) == parts.whole(TUTORIAL)


def test_the_smallest_part_has_a_candidate_beside_the_first_of_each_process() -> None:
    assert parts.smallest(TUTORIAL, ALL).n_fits == 2 * 2
    assert parts.smallest(TUTORIAL, ALL, n_jobs=2).n_fits == 3 * 2
    assert parts.part_within(0.0, 1.0, TUTORIAL, ALL) == parts.smallest(TUTORIAL, ALL)


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_the_smallest_part_has_a_second_shape_where_there_is_one(name: str) -> None:
    work = WORKLOADS[name]
    part = parts.smallest(work, range(len(work.candidates)))
    shapes = {shape_of(work, candidate) for candidate in work.candidates}
    met = {shape_of(work, candidate) for candidate in part.candidates_of(work)}
    assert len(met) >= min(2, len(shapes))


def test_a_part_of_unequal_fits_has_short_and_long_ones() -> None:
    part = parts.smallest(BATCHES, range(18))
    steps = sorted(BATCHES.steps_of(candidate) for candidate in part.candidates_of(BATCHES))
    assert len(steps) == 3 and steps[-1] > 10 * steps[0]


@pytest.mark.parametrize("mode", ["full", "quick", "smoke"])
def test_amalthea_takes_part_in_all_and_comes_first(mode: str) -> None:
    chosen = plan.plan_for([], mode)
    for name in chosen.workloads:
        peers = chosen.peers_of(WORKLOADS[name])
        assert peers[0].name == "amalthea"
        assert all(chosen.runs_of(peer, WORKLOADS[name]) >= 1 for peer in peers)


def test_peers_name_known_workloads_and_files_that_exist() -> None:
    for peer in PEERS.values():
        assert {*peer.only, *peer.never} < set(WORKLOADS)
        assert (BENCH / "peers" / f"{peer.module}.py").exists()
        pins = BENCH / "environments" / f"{peer.environment}.txt"
        assert peer.environment == HOME or pins.exists()


def test_who_cannot_express_a_candidate_is_not_given_it() -> None:
    mlp = PEERS["mlp"]
    optimizers = WORKLOADS["brownlee-optimizer"]
    given = [optimizers.candidates[n]["optimizer_name"] for n in mlp.candidates_of(optimizers)]
    assert given == ["SGD", "Adam"]
    assert not mlp.can(WORKLOADS["images"]) and not mlp.can(WORKLOADS["brownlee-dropout"])
    assert mlp.can(WORKLOADS["regression"])


def test_random_search_is_measured_where_it_is_published() -> None:
    assert [w for w in WORKLOADS if PEERS["random"].can(WORKLOADS[w])] == ["tuner"]


def test_a_name_stands_for_its_family() -> None:
    assert len(plan.plan_for(["brownlee"]).workloads) == 7
    with pytest.raises(SystemExit, match="Unknown workloads"):
        plan.plan_for(["nothing"])


def test_the_curves_are_drawn_in_each_full_run_and_where_they_are_named() -> None:
    full = plan.plan_for([])
    assert sorted(full.workloads) == sorted(WORKLOADS) and full.growth
    assert not plan.plan_for(["tutorial"]).growth
    named = plan.plan_for(["growth"])
    assert named.growth and not named.workloads


def test_runs_can_be_chosen() -> None:
    chosen = plan.plan_for(["tutorial"], runs=5)
    assert all(chosen.runs_of(peer, TUTORIAL) == 5 for peer in chosen.peers_of(TUTORIAL))


def test_amalthea_has_seeds_to_know_its_noise_from() -> None:
    full = plan.plan_for([], runs=None)
    seeds = {name: full.seeds_of(work) for name, work in WORKLOADS.items()}
    assert min(seeds.values()) == 2 and seeds["tutorial"] == seeds["brownlee-sgd"] == 3
    assert {name for name, n in seeds.items() if n == 2} == {"tuner", "many", "table"}


def test_runs_are_more_where_readers_look_and_where_they_are_quick() -> None:
    full, quick, smoke = (plan.plan_for([], mode) for mode in ("full", "quick", "smoke"))
    ours, other = PEERS["amalthea"], PEERS["keras"]
    runs = {
        name: (full.runs_of(ours, WORKLOADS[name]), full.runs_of(other, WORKLOADS[name]))
        for name in ("tutorial", "tuner", "brownlee-sgd", "single", "many")
    }
    assert runs["tutorial"] == (3, 2) and runs["tuner"] == runs["brownlee-sgd"] == (2, 1)
    assert runs["single"] == (2, 2) and runs["many"] == (1, 1)
    assert quick.runs_of(ours, TUTORIAL) == 2 and smoke.runs_of(ours, TUTORIAL) == 1


def test_few_runs_are_not_published() -> None:
    modes = {runs: plan.plan_for([], runs=runs).mode for runs in (None, 1, 2, 3, 5)}
    assert modes == {None: "full", 1: "some", 2: "some", 3: "full", 5: "full"}
    assert plan.plan_for([], runs=1).growth


def test_a_smoke_test_leaves_out_what_takes_minutes() -> None:
    assert set(WORKLOADS) - set(plan.plan_for([], "smoke").workloads) == {"tuner", "many", "table"}
    assert plan.plan_for(["tuner"], "smoke").workloads == ("tuner",)


def test_pins_are_complete_and_name_no_place() -> None:
    for file in (BENCH / "environments").glob("*.txt"):
        for line in file.read_text().splitlines():
            assert line.count("==") == 1 and "/" not in line and "@" not in line
