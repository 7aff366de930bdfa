"""How time and memory grow with the number of fits, and with the rows of the data."""

from __future__ import annotations

from typing import Any

import venvs
from agreement import work_differences
from parts import Part, smallest, whole
from peers.registry import PEERS, Peer
from processes import PeerFailed, measured
from scaling import durations, fits_of, of_whole
from workloads import Workload, workload

FITS = {10: "many2", 100: "many20", 1_000: "many200", 10_000: "many"}
ROWS = {1_000: "rows1000", 10_000: "rows10000", 100_000: "rows100000", 1_000_000: "rows1000000"}
_OF_FITS = ("amalthea", "limit", "keras")
_OF_ROWS = ("amalthea", "keras")
_WHOLE_UP_TO = 10  # fits of a peer that is measured on a part of more

Point = dict[str, Any]


class Curves:
    """Both curves, and what went wrong at any point of them.

    Parameters
    ----------
    known : dict
        The workloads that the bench has measured already.
    """

    def __init__(self, known: dict[str, Any]) -> None:
        self.points: dict[str, list[Point]] = {"fits": [], "rows": []}
        self.disagreements: list[str] = []
        self.failed: list[str] = []
        self._known = known

    def measure(self) -> None:
        for axis, sizes, peers in (("fits", FITS, _OF_FITS), ("rows", ROWS, _OF_ROWS)):
            for x, name in sizes.items():
                for peer in peers:
                    self._add(axis, x, workload(name), PEERS[peer])

    def _add(self, axis: str, x: int, work: Workload, peer: Peer) -> None:
        label = f"growth, {work.name}, {peer.title}"
        try:
            point = self._known_point(work, peer) or self._measured(work, peer, label)
        except PeerFailed as error:
            self.failed.append(f"{label}: {error}")
            print(f"FAILED {label}: {error}", flush=True)
            return
        if point["fits_measured"] < work.n_fits:
            point["peak_mb"] = None  # a part holds less than the whole
        print(f"  {label:45s} {point['seconds']:9.2f} s", flush=True)
        self.points[axis].append({"x": x, "peer": peer.name, **point})

    def _known_point(self, work: Workload, peer: Peer) -> Point | None:
        figures = self._known.get(work.name, {}).get("peers", {}).get(peer.name)
        if figures is None:
            return None
        seconds, told = figures["seconds"][0], ("peak_mb", "fits_measured")
        return {"seconds": seconds, **{name: figures[name] for name in told}}

    def _measured(self, work: Workload, peer: Peer, label: str) -> Point:
        part = _part(peer, work)
        outcome = measured(venvs.python_of(peer.environment), peer, work.name, part)
        self.disagreements += [f"{label}: {what}" for what in work_differences(work, part, outcome)]
        fits = fits_of(outcome, durations(outcome), part, work)
        return {
            "seconds": round(of_whole(outcome["seconds"], fits, part, work, peer.n_jobs), 3),
            "peak_mb": round(outcome["peak"] / 1e6),
            "fits_measured": part.n_fits,
        }


def _part(peer: Peer, work: Workload) -> Part:
    if peer.whole or work.n_fits <= _WHOLE_UP_TO:
        return whole(work)
    return smallest(work, range(len(work.candidates)))
