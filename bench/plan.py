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
# Peers whose single fit takes seconds get fewer runs, so that the whole bench stays under an hour.
SLOW = ("keras", "wrappers", "scikeras", "scikeras2", "tuner", "random", "optuna", "skorch")
LARGE = ("many", "table")
WARM = ("amalthea", "limit", "keras")  # measured with a warm compilation cache too
WARM_SOMEWHERE = {"wrappers": QUICK_WORKLOADS, "tuner": ("pipeline",), "optuna": ("pipeline",)}


@dataclass(frozen=True)
class Plan:
    """One run of the bench.

    ``mode`` is ``"full"``, ``"some"``, ``"quick"``, or ``"smoke"``: each peer once on as little as
    can be scaled.
    """

    mode: str
    workloads: tuple[str, ...]
    runs: int | None = None
    growth: bool = False

    @property
    def seconds(self) -> float:
        """What one measurement of a peer on a part may take."""
        return {"quick": 3.0, "smoke": 0.0}.get(self.mode, 5.0)

    def peers_of(self, workload: Workload) -> list[Peer]:
        chosen = [peer for peer in PEERS.values() if peer.can(workload)]
        return [peer for peer in chosen if self.mode != "quick" or peer.name in QUICK_PEERS]

    def runs_of(self, peer: Peer, workload: Workload) -> int:
        if workload.name in LARGE or self.mode == "smoke":
            return 1
        if self.runs:
            return self.runs
        if peer.name not in SLOW:
            return 2 if self.mode == "quick" else 3
        return 2 if workload.name in HEADLINES or workload.twice else 1

    def is_measured_warm(self, peer: Peer, workload: Workload) -> bool:
        if self.mode == "smoke" or workload.name in LARGE or workload.twice:
            return False
        if peer.whole:
            return True
        if peer.name in WARM:
            return workload.name in HEADLINES
        return workload.name in WARM_SOMEWHERE.get(peer.name, ())

    def first_part(self, peer: Peer, workload: Workload) -> Part:
        """What the warm-up runs."""
        if peer.whole or workload.twice:
            return whole(workload)
        return smallest(workload, peer.candidates_of(workload), peer.n_jobs)

    def part_of(self, peer: Peer, workload: Workload, seconds_per_fit: float) -> Part:
        if peer.whole or workload.twice:
            return whole(workload)
        among = peer.candidates_of(workload)
        return part_within(self.seconds, seconds_per_fit, workload, among, peer.n_jobs)

    @property
    def environments(self) -> list[str]:
        peers = [peer for name in self.workloads for peer in self.peers_of(WORKLOADS[name])]
        return list(dict.fromkeys([*(peer.environment for peer in peers), "keras"]))


def plan_for(names: list[str], mode: str = "full", runs: int | None = None) -> Plan:
    """The plan for these workloads; a name stands for all that begin with it and a hyphen."""
    if not names:
        every = QUICK_WORKLOADS if mode == "quick" else ORDER
        return Plan(mode, every, runs, growth=mode == "full")
    wanted = [name for name in names if name != GROWTH]
    unknown = [name for name in wanted if not any(_is_of(w, name) for w in WORKLOADS)]
    if unknown:
        known = ", ".join((*WORKLOADS, GROWTH))
        raise SystemExit(f"Unknown workloads {unknown}; there are: {known}.")
    chosen = tuple(w for w in ORDER if any(_is_of(w, name) for name in wanted))
    return Plan("some" if mode == "full" else mode, chosen, runs, growth=GROWTH in names)


def _is_of(workload: str, name: str) -> bool:
    return workload == name or workload.startswith(f"{name}-")
