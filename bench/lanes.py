"""A grid as stacked arrays: one lane for each fit, padded to the widest and longest of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from datasets import Data
from networks import Network, network_of
from workloads import Fold, Workload

# What Keras's names of initialisers mean: the distribution, its scale, and the units that count.
_SCHEMES = {
    "glorot_uniform": ("uniform", 6, "both"),
    "glorot_normal": ("normal", 2, "both"),
    "he_uniform": ("uniform", 6, "in"),
    "he_normal": ("normal", 2, "in"),
    "lecun_uniform": ("uniform", 3, "in"),
}


class Static(NamedTuple):
    """What the program is written for."""

    activations: tuple[str, ...]
    optimizers: tuple[tuple[str, int], ...]  # with the number of neighbouring lanes of each
    head: str
    has_dropout: bool
    has_l2: bool
    has_max_norm: bool


@dataclass(frozen=True)
class Grid:
    """Everything of a workload that the program needs.

    ``shared`` are arrays for all lanes, ``lanes`` those with a row for each; ``place`` tells
    where in the order of candidates and folds a lane belongs.
    """

    static: Static
    shared: dict[str, Any]
    lanes: dict[str, Any]
    place: np.ndarray
    folds: list[Fold]
    y: np.ndarray
    multiplications: float

    @property
    def n_lanes(self) -> int:
        return len(self.place)

    @classmethod
    def of(
        cls, workload: Workload, data: Data, folds: list[Fold], candidates: list[dict[str, Any]]
    ) -> Grid:
        fits = [(c, fold) for c in candidates for fold in range(len(folds))]
        networks = [network_of(workload, candidate) for candidate, _ in fits]
        place = np.array(sorted(range(len(fits)), key=lambda n: networks[n].optimizer))
        fits, networks = [fits[n] for n in place], [networks[n] for n in place]
        orders, of_lane = _orders(workload, folds, fits)
        shared = {**_tables(workload, data, folds), **_batches(orders, folds)}
        static = _static(networks)
        if static.has_dropout:
            shared["noise"] = _noise(shared["rows"].shape, networks, workload.seed)
        lanes = {
            "order": of_lane,
            "fold": np.array([fold for _, fold in fits]),
            **_stack(networks, workload.seed),
        }
        lanes["scaled"] = lanes["fold"] if workload.scaled else np.zeros_like(lanes["fold"])
        work = sum(_weights(n) for n in networks) * shared["rows"][0].size * 3
        return cls(static, shared, lanes, place, folds, data[1], work)

    def chunks(self, n: int) -> list[dict[str, Any]]:
        """Lanes in equal chunks; the last is filled up, since a program has one shape."""
        if self.n_lanes <= n or len(self.static.optimizers) > 1:
            return [self.lanes]
        numbers = np.arange(-(-self.n_lanes // n) * n) % self.n_lanes
        return [_take(self.lanes, numbers[i : i + n]) for i in range(0, len(numbers), n)]


def scores(grid: Grid, outputs: np.ndarray) -> list[list[float]]:
    """Accuracy, or R squared, of each candidate on each fold."""
    by_fit = np.empty(grid.n_lanes)
    for lane, place in enumerate(grid.place):
        test = grid.folds[grid.lanes["fold"][lane]][1]
        by_fit[place] = _score(outputs[lane][: len(test)], grid.y[test], grid.static.head)
    return by_fit.reshape(-1, len(grid.folds)).tolist()


def epochs(grid: Grid) -> list[list[int]]:
    """How often each fit's batches go through its training rows."""
    seen = np.sum(grid.shared["rows"] >= 0, axis=(1, 2))
    n_rows = np.array([len(train) for train, _ in grid.folds])
    return _by_candidate(grid, seen[grid.lanes["order"]] // n_rows[grid.lanes["fold"]])


def steps(grid: Grid) -> list[list[int | None]]:
    """The batches of each fit, in each of which its weights change once."""
    batches = np.sum((grid.shared["rows"] >= 0).any(axis=2), axis=1)
    return _by_candidate(grid, batches[grid.lanes["order"]])


def _by_candidate(grid: Grid, of_lanes: np.ndarray) -> Any:
    by_fit = np.empty(grid.n_lanes, int)
    by_fit[grid.place] = of_lanes
    return by_fit.reshape(-1, len(grid.folds)).tolist()


def _score(outputs: np.ndarray, y: np.ndarray, head: str) -> float:
    if head == "linear":
        return 1 - float(np.sum((y - outputs[:, 0]) ** 2) / np.sum((y - y.mean()) ** 2))
    labels = outputs.argmax(axis=1) if head == "softmax" else outputs[:, 0] > 0
    return float(np.mean(labels == y))


def _take(arrays: Any, numbers: np.ndarray) -> Any:
    if isinstance(arrays, dict):
        return {name: _take(value, numbers) for name, value in arrays.items()}
    if isinstance(arrays, list | tuple):
        return type(arrays)(_take(value, numbers) for value in arrays)
    return arrays[numbers]


def _static(networks: list[Network]) -> Static:
    kinds = [network.optimizer for network in networks]
    return Static(
        tuple(sorted({network.activation for network in networks})),
        tuple((kind, kinds.count(kind)) for kind in dict.fromkeys(kinds)),
        networks[0].head,
        any(network.dropout for network in networks),
        any(network.l2 for network in networks),
        any(network.max_norm for network in networks),
    )


def _orders(workload: Workload, folds: list[Fold], fits: Any) -> tuple[list[Any], np.ndarray]:
    """The rows of every batch, once for each fold, batch size and number of epochs."""
    numbers: dict[Any, int] = {}
    of_lane = []
    for candidate, fold in fits:
        key = (fold, workload.batch_size_of(candidate), workload.epochs_of(candidate))
        of_lane.append(numbers.setdefault(key, len(numbers)))
    orders = [
        _order(folds[fold][0], batch_size, epochs, workload.seed)
        for fold, batch_size, epochs in numbers
    ]
    return orders, np.array(of_lane)


def _order(train: np.ndarray, batch_size: int, epochs: int, seed: int) -> np.ndarray:
    """Row numbers, a line for each step; -1 where a batch is short."""
    rng = np.random.RandomState(seed)
    short = -len(train) % batch_size
    lines = [np.append(rng.permutation(train), np.full(short, -1)) for _ in range(epochs)]
    return np.concatenate(lines).reshape(-1, batch_size)


def _batches(orders: list[np.ndarray], folds: list[Fold]) -> dict[str, np.ndarray]:
    n_steps, width = (max(order.shape[axis] for order in orders) for axis in (0, 1))
    rows = np.full((len(orders), n_steps, width), -1, "int32")
    for number, order in enumerate(orders):
        rows[number, : order.shape[0], : order.shape[1]] = order
    longest = max(len(test) for _, test in folds)
    tests = np.stack([np.resize(test, longest) for _, test in folds])
    for number, (_, test) in enumerate(folds):
        tests[number, len(test) :] = 0
    return {"rows": rows, "tests": tests.astype("int32")}


def _tables(workload: Workload, data: Data, folds: list[Fold]) -> dict[str, np.ndarray]:
    """X once, or once for each fold where it is scaled by that fold's training rows."""
    X, y = data
    y = y.astype("float32" if workload.regression else "int32")
    if not workload.scaled:
        return {"X": X[None], "y": y}
    scaled = [(X - X[train].mean(axis=0)) / X[train].std(axis=0) for train, _ in folds]
    return {"X": np.stack(scaled), "y": y}


def _noise(shape: tuple[int, ...], networks: list[Network], seed: int) -> np.ndarray:
    """Numbers that dropout compares with its rate: the same for all fits, as under one seed."""
    width = max(network.widths[-1] for network in networks)
    return np.random.default_rng(seed).random((*shape[1:], width), dtype="float32")


def _stack(networks: list[Network], seed: int) -> dict[str, Any]:
    made: dict[Any, list[Any]] = {}
    widths = [max(layer) for layer in zip(*(n.widths for n in networks), strict=True)]
    for network in networks:
        key = (network.widths, network.init)
        if key not in made:
            made[key] = _initial(network, widths, seed)
    layers = zip(*(made[network.widths, network.init] for network in networks), strict=True)
    numbers = ("dropout", "l2", "learning_rate", "momentum", "weight_decay")
    fields = [asdict(network) for network in networks]
    stacked = {name: np.array([f[name] for f in fields], "float32") for name in numbers}
    activations = _static(networks).activations
    return {
        **stacked,
        "max_norm": np.array([n.max_norm or np.inf for n in networks], "float32"),
        "activation": np.array([activations.index(n.activation) for n in networks], "int32"),
        "masks": [
            np.stack([np.arange(width) < n.widths[layer] for n in networks]).astype("float32")
            for layer, width in enumerate(widths)
        ],
        "weights": [np.stack(layer) for layer in layers],
    }


def _weights(network: Network) -> int:
    sizes = (network.inputs, *network.widths, network.outputs)
    return sum(a * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))


def _initial(network: Network, widths: list[int], seed: int) -> list[np.ndarray]:
    """Kernels and biases, layer by layer, with zeros where a narrower network has no units."""
    rng = np.random.default_rng(seed)
    own = (network.inputs, *network.widths, network.outputs)
    padded = (network.inputs, *widths, network.outputs)
    arrays = []
    for n_in, n_out, rows, columns in zip(own[:-1], own[1:], padded[:-1], padded[1:], strict=True):
        kernel = np.zeros((rows, columns), "float32")
        kernel[:n_in, :n_out] = _drawn(rng, network.init, n_in, n_out)
        arrays += [kernel, np.zeros(columns, "float32")]
    return arrays


def _drawn(rng: np.random.Generator, name: str, n_in: int, n_out: int) -> Any:
    if name == "zero":
        return 0.0
    if name == "uniform":
        return rng.uniform(-0.05, 0.05, (n_in, n_out))
    if name == "normal":
        return 0.05 * rng.standard_normal((n_in, n_out))
    kind, scale, fan = _SCHEMES[name]
    spread = (scale / (n_in + n_out if fan == "both" else n_in)) ** 0.5
    if kind == "uniform":
        return rng.uniform(-spread, spread, (n_in, n_out))
    return spread * rng.standard_normal((n_in, n_out)).clip(-2, 2)
