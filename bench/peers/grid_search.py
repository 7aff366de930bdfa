"""A search of scikit-learn's over some estimator: what the peers that have estimators share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parts import Part, whole
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from workloads import Workload

from .outcome import Outcome, Span, Told, second_of_two

Candidate = dict[str, Any]
_UNTOLD = -1  # since a scorer has to give numbers
Rows = list[list[float]]  # a row for each candidate, with a number for each fold


def _as_it_is(candidate: Candidate) -> Candidate:
    return candidate


def _nothing(workload: Workload, candidate: Candidate) -> Candidate:
    return {}


@dataclass(frozen=True)
class Searched:
    """How a peer is searched.

    Parameters
    ----------
    estimator : callable
        From a workload to an estimator that does as the workload's fixed settings say.
    epochs, steps : callable
        From a fitted estimator to the number of epochs that it ran, and to that of the steps that
        its optimizer took, or None.
    settings : callable
        From a candidate to the estimator's parameters.
    of_fit : callable
        From a workload and a candidate to arguments of ``fit``, where these are no parameters.
        Candidates that differ in them need a search of their own.
    search : class
    target : callable
        From y to what the estimator wants.
    steps_take_time : bool
        The steps are then read after the search, of one fit for each batch size.
    """

    estimator: Callable[[Workload], Any]
    epochs: Callable[[Any], int]
    steps: Callable[[Any], int | None]
    settings: Callable[[Candidate], Candidate] = _as_it_is
    of_fit: Callable[[Workload, Candidate], Candidate] = _nothing
    search: Any = GridSearchCV
    target: Callable[[Any], Any] = _as_it_is
    steps_take_time: bool = False


class Telling:
    """A scorer that also tells what a fit has done, when and where.

    It can be sent to other processes. ``kept`` has a fitted estimator for each batch size, and when
    it ended, where its steps are to be read later.
    """

    def __init__(self, peer: Searched) -> None:
        self._epochs = peer.epochs
        self._steps = None if peer.steps_take_time else peer.steps
        self.kept: dict[int, tuple[float, Any]] = {}

    def __call__(self, estimator: Any, X: Any, y: Any) -> dict[str, float]:
        score = estimator.score(X, y)
        inner = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        steps = self._steps(inner) if self._steps else None
        ended = time.perf_counter()
        if self._steps is None:
            self.kept.setdefault(inner.batch_size, (ended, inner))
        return {
            "score": score,
            "epochs": self._epochs(inner),
            "steps": _UNTOLD if steps is None else steps,
            "ended": ended,
            "process": os.getpid(),
        }


def run(peer: Searched, workload: Workload, part: Part, n_jobs: int | None = None) -> Outcome:
    X, y = workload.data()
    y = peer.target(y)
    if workload.twice:
        return second_of_two(
            lambda: _fit(peer, workload, X, y),
            lambda model: Told(peer.epochs(model), peer.steps(model), float(model.score(X, y))),
        )
    searches = [
        (arguments, _search(peer, workload, part, points, n_jobs))
        for arguments, points in _together(peer, workload, part)
    ]
    started = time.perf_counter()
    for arguments, search in searches:
        search.fit(X, y, **{_prefix(workload) + n: value for n, value in arguments.items()})
    seconds = time.perf_counter() - started
    outcome = _joined([search for _, search in searches], part, started, seconds)
    for _, search in searches:
        _count_later(peer, search.scoring, outcome)
    outcome.more.update(_first_and_last(searches[0][1], started))
    return outcome


def _fit(peer: Searched, workload: Workload, X: Any, y: Any) -> Any:
    candidate = workload.candidates[0]
    estimator = peer.estimator(workload).set_params(**peer.settings(candidate))
    return estimator.fit(X, y, **peer.of_fit(workload, candidate))


def _search(
    peer: Searched, workload: Workload, part: Part, points: list[Candidate], n_jobs: int | None
) -> Any:
    estimator = peer.estimator(workload)
    if workload.scaled:
        estimator = Pipeline([("scale", StandardScaler()), ("model", estimator)])
    return peer.search(
        estimator,
        _grid(peer, workload, part, points),
        cv=part.folds_of(workload),
        scoring=Telling(peer),
        refit=False,
        n_jobs=n_jobs,
        error_score="raise",
    )


def _grid(peer: Searched, workload: Workload, part: Part, points: list[Candidate]) -> Any:
    """The workload's own grid where all of it is searched, and else a list of single points."""
    prefix = _prefix(workload)
    natural = peer.settings is _as_it_is and part == whole(workload)
    if natural and isinstance(workload.grid, dict):
        return {prefix + name: values for name, values in workload.grid.items()}
    return [
        {prefix + name: [value] for name, value in peer.settings(point).items()} for point in points
    ]


def _prefix(workload: Workload) -> str:
    return "model__" if workload.scaled else ""


def _together(
    peer: Searched, workload: Workload, part: Part
) -> list[tuple[Candidate, list[Candidate]]]:
    """Candidates that one search can hold, in their order, with their arguments of ``fit``."""
    groups: list[tuple[Candidate, list[Candidate]]] = []
    for candidate in part.candidates_of(workload):
        arguments = peer.of_fit(workload, candidate)
        if not groups or groups[-1][0] != arguments:
            groups.append((arguments, []))
        groups[-1][1].append(candidate)
    return groups


def _joined(searches: list[Any], part: Part, started: float, seconds: float) -> Outcome:
    names = ("score", "epochs", "steps", "ended", "process")
    told: dict[str, Rows] = {
        name: [row for one in searches for row in _per_fold(one.cv_results_, name, part.n_folds)]
        for name in names
    }
    outcome = Outcome(
        started,
        seconds,
        spans=spans(told["ended"], told["process"], started),
        epochs=[[int(n) for n in row] for row in told["epochs"]],
        steps=[[None if n == _UNTOLD else int(n) for n in row] for row in told["steps"]],
        scores=told["score"],
        processes=[[int(n) for n in row] for row in told["process"]],
    )
    for search in searches:
        if hasattr(search, "programs_"):
            outcome.more["programs_"] = outcome.more.get("programs_", 0) + search.programs_
    return outcome


def spans(ended: Rows, processes: Rows, started: float) -> list[list[Span]]:
    """When each fit began and ended: one begins when the one before it in its process has ended."""
    found = [[(started, end) for end in row] for row in ended]
    before: dict[float, float] = {}
    fits = [(row, fold) for row, line in enumerate(ended) for fold in range(len(line))]
    for row, fold in sorted(fits, key=lambda fit: ended[fit[0]][fit[1]]):
        process, end = processes[row][fold], ended[row][fold]
        found[row][fold] = (before.get(process, started), end)
        before[process] = end
    return found


def _count_later(peer: Searched, told: Telling, outcome: Outcome) -> None:
    """The steps of the fits that were kept, found again by the moment at which they ended."""
    for ended, estimator in told.kept.values():
        for spans_of, steps in zip(outcome.spans, outcome.steps, strict=True):
            for fold, (_, end) in enumerate(spans_of):
                if end == ended:
                    steps[fold] = peer.steps(estimator)


def _per_fold(results: Any, name: str, n_folds: int) -> Rows:
    columns = [results[f"split{fold}_test_{name}"].tolist() for fold in range(n_folds)]
    return [list(row) for row in zip(*columns, strict=True)]


def _first_and_last(search: Any, started: float) -> dict[str, Any]:
    """Of many fits: whether the last are as cheap as the first."""
    ended = sorted(sum(_per_fold(search.cv_results_, "ended", search.n_splits_), []))
    if len(ended) < 4000:
        return {}
    return {
        "ms a fit, first 2,000": (ended[1999] - started) / 2,
        "ms a fit, last 2,000": (ended[-1] - ended[-2001]) / 2,
    }
