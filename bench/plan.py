"""Who is measured on what, how often and how much of it: the policy, without a process."""

from __future__ import annotations

from dataclasses import dataclass

from parts import Part, part_within, smallest, whole
from peers.registry import PEERS, Peer
from workloads import WORKLOADS, Workload

GROWTH = "growth"  # the curves over fits and rows, chosen like a workload
HEADLINES = (
    *("tutorial1", "tutorial", "pipeline", "regression"),
    *("tuner", "images", "wide", "sequence"),
)
ORDER = (*HEADLINES, *(name for name in WORKLOADS if name not in HEADLINES))
QUICK_WORKLOADS = ("tutorial", "pipeline")
QUICK_PEERS = ("amalthea", "limit", "keras", "wrappers", "scikeras", "optuna", "mlp", "mlp2")
# Runs of those who do the whole work and of the others, as many as let the bench end in an hour.
RUNS_ON_HEADLINES, RUNS_ELSEWHERE = (3, 2), (2, 1)
LONG = ("tuner", "images", "wide", "sequence")  # headlines whose fits are long
LARGE = ("many", "table")
SLOW = ("tuner", *LARGE)  # where Amalthea takes more than a minute
# Seeds at least under which Amalthea is run for its scores, since they tell how noisy scores are.
SEEDS, SEEDS_OF_SLOW, SEEDS_OF_ONE_FIT = 3, 2, 5
ENOUGH_RUNS = 3  # fewer, where they were asked for, are not published
# Where they are measured with a warm compilation cache too. Those on JAX compile the same programs.
_WHOLE_AND_WARM = (*(name for name in HEADLINES if name != "tuner"), "brownlee-batches")
WARM = {"amalthea": _WHOLE_AND_WARM, "limit": _WHOLE_AND_WARM, "keras": HEADLINES}


@dataclass(frozen=True)
class Plan:
    """One run of the bench.

    ``mode`` is ``"full"``, which is published; ``"some"``, for chosen workloads or few runs;
    ``"quick"``; or ``"smoke"``: each peer once on as little as can be scaled.
    """

    mode: str
    workloads: tuple[str, ...]
    runs: int | None = None
    growth: bool = False

    def peers_of(self, workload: Workload) -> list[Peer]:
        chosen = [peer for peer in PEERS.values() if peer.can(workload)]
        return [peer for peer in chosen if self.mode != "quick" or peer.name in QUICK_PEERS]

    def runs_of(self, peer: Peer, workload: Workload) -> int:
        if workload.name in LARGE or self.mode == "smoke":
            return 1
        if self.runs:
            return self.runs
        if self.mode == "quick" or workload.twice:
            return 2
        many = workload.name in HEADLINES and workload.name not in LONG
        of_whole, of_part = RUNS_ON_HEADLINES if many else RUNS_ELSEWHERE
        return of_whole if peer.whole else of_part

    def seeds_of(self, workload: Workload) -> int:
        if workload.name in SLOW:
            return SEEDS_OF_SLOW
        return SEEDS_OF_ONE_FIT if workload.twice else SEEDS

    def is_measured_warm(self, peer: Peer, workload: Workload) -> bool:
        if self.mode == "smoke" or (self.mode == "quick" and not peer.whole):
            return False
        return workload.name in WARM.get(peer.name, ())

    def first_part(self, peer: Peer, workload: Workload) -> Part:
        """What the warm-up runs."""
        if peer.whole or workload.twice:
            return whole(workload)
        return smallest(workload, peer.candidates_of(workload), peer.n_jobs)

    def part_of(self, peer: Peer, workload: Workload, seconds_per_fit: float) -> Part:
        if peer.whole or workload.twice:
            return whole(workload)
        among = peer.candidates_of(workload)
        seconds = self._seconds(workload)
        return part_within(seconds, seconds_per_fit, workload, among, peer.n_jobs)

    def _seconds(self, workload: Workload) -> float:
        """What one measurement of a peer on a part may take."""
        if self.mode == "smoke":
            return 0.0
        return 3.0 if self.mode != "quick" and workload.name in HEADLINES else 2.5

    @property
    def environments(self) -> list[str]:
        peers = [peer for name in self.workloads for peer in self.peers_of(WORKLOADS[name])]
        return list(dict.fromkeys([*(peer.environment for peer in peers), "keras"]))


def plan_for(names: list[str], mode: str = "full", runs: int | None = None) -> Plan:
    """The plan for these workloads; a name stands for all that begin with it and a hyphen."""
    if not names:
        is_enough = mode != "full" or runs is None or runs >= ENOUGH_RUNS
        return Plan(mode if is_enough else "some", _every(mode), runs, growth=mode == "full")
    wanted = [name for name in names if name != GROWTH]
    unknown = [name for name in wanted if not any(_is_of(w, name) for w in WORKLOADS)]
    if unknown:
        known = ", ".join((*WORKLOADS, GROWTH))
        raise SystemExit(f"Unknown workloads {unknown}; there are: {known}.")
    chosen = tuple(w for w in ORDER if any(_is_of(w, name) for name in wanted))
    return Plan("some" if mode == "full" else mode, chosen, runs, growth=GROWTH in names)


def _every(mode: str) -> tuple[str, ...]:
    """The workloads where none is named."""
    if mode == "quick":
        return QUICK_WORKLOADS
    return tuple(name for name in ORDER if mode != "smoke" or name not in SLOW)


def _is_of(workload: str, name: str) -> bool:
    return workload == name or workload.startswith(f"{name}-")
