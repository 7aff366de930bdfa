"""A search of scikit-learn's over some estimator: what the peers that have estimators share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parts import Part, whole
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from workloads import Workload

from .outcome import Outcome, second_of_two

Candidate = dict[str, Any]


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
    epochs : callable
        From a fitted estimator to the number of epochs that it ran.
    settings : callable
        From a candidate to the estimator's parameters.
    of_fit : callable
        From a workload and a candidate to arguments of ``fit``, where these are no parameters.
        Candidates that differ in them need a search of their own.
    search : class
    target : callable
        From y to what the estimator wants.
    """

    estimator: Callable[[Workload], Any]
    epochs: Callable[[Any], int]
    settings: Callable[[Candidate], Candidate] = _as_it_is
    of_fit: Callable[[Workload, Candidate], Candidate] = _nothing
    search: Any = GridSearchCV
    target: Callable[[Any], Any] = _as_it_is


class ScoreAndEpochs:
    """A scorer that also tells how many epochs a fit has run; it can be sent to other processes."""

    def __init__(self, epochs: Callable[[Any], int]) -> None:
        self._epochs = epochs

    def __call__(self, estimator: Any, X: Any, y: Any) -> dict[str, float]:
        score = estimator.score(X, y)
        inner = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        return {"score": score, "epochs": self._epochs(inner), "ended": time.perf_counter()}


def run(peer: Searched, workload: Workload, part: Part, n_jobs: int | None = None) -> Outcome:
    X, y = workload.data()
    y = peer.target(y)
    if workload.twice:
        return second_of_two(lambda: _fit(peer, workload, X, y))
    searches = [
        (arguments, _search(peer, workload, part, points, n_jobs))
        for arguments, points in _together(peer, workload, part)
    ]
    started = time.perf_counter()
    for arguments, search in searches:
        search.fit(X, y, **{_prefix(workload) + n: value for n, value in arguments.items()})
    seconds = time.perf_counter() - started
    outcome = _joined([search for _, search in searches], part, started, seconds)
    outcome.more.update(_first_and_last(searches[0][1], started))
    return outcome


def _fit(peer: Searched, workload: Workload, X: Any, y: Any) -> int:
    candidate = workload.candidates[0]
    estimator = peer.estimator(workload).set_params(**peer.settings(candidate))
    return peer.epochs(estimator.fit(X, y, **peer.of_fit(workload, candidate)))


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
        scoring=ScoreAndEpochs(peer.epochs),
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
    outcome = Outcome(started, seconds, [], [], [])
    for search in searches:
        results = search.cv_results_
        times = (results["mean_fit_time"] + results["mean_score_time"]) * part.n_folds
        outcome.of_candidates += times.tolist()
        outcome.scores += _per_fold(results, "score", part.n_folds)
        outcome.epochs += [
            list(map(int, row)) for row in _per_fold(results, "epochs", part.n_folds)
        ]
        if hasattr(search, "programs_"):
            outcome.more["programs_"] = outcome.more.get("programs_", 0) + search.programs_
    return outcome


def _per_fold(results: Any, name: str, n_folds: int) -> list[list[float]]:
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
