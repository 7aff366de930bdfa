"""The limit: one hand-written JAX program for the whole grid of small classifiers.

What an expert would write for this one grid: all candidates and folds stacked, the units padded
to the widest, activations a choice, Adam spelled out, the batches' rows made on the host. Nothing
of Keras or scikit-learn runs while it is timed, but for the scaling of the data.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.preprocessing import StandardScaler
from workloads import Workload

from .outcome import Outcome


def run(workload: Workload, candidates: list[dict[str, Any]]) -> Outcome:
    X, y = workload.data()
    folds = workload.folds()
    started = time.perf_counter()
    tables = [_scaled(workload, X, train) for train, _ in folds]
    scores = _scores(workload, candidates, folds, np.stack(tables), y)
    seconds = time.perf_counter() - started
    epochs = workload.epochs * len(candidates) * len(folds)
    return Outcome(seconds, len(candidates) * len(folds), epochs, scores)


def _scaled(workload: Workload, X: np.ndarray, train: np.ndarray) -> np.ndarray:
    return StandardScaler().fit(X[train]).transform(X) if workload.scaled else X


def _scores(
    workload: Workload, candidates: Any, folds: Any, tables: np.ndarray, y: np.ndarray
) -> list[float]:
    n_rows = {len(train) for train, _ in folds}
    widest = max(candidate["units"] for candidate in candidates)
    scores = np.zeros((len(candidates), len(folds)))
    for size in n_rows:  # folds of one size train together
        numbers = [n for n, (train, _) in enumerate(folds) if len(train) == size]
        lanes = [(c, n) for c in range(len(candidates)) for n in numbers]
        states = [
            _initial(candidates[c], tables.shape[-1], int(y.max()) + 1, widest) for c, _ in lanes
        ]
        state = jax.tree.map(lambda *values: np.stack(values), *states)
        fold = np.array([n for _, n in lanes])
        rng = np.random.default_rng(0)
        orders = np.stack([rng.permutation(size) for _ in range(workload.epochs)])
        train_rows = np.stack([folds[n][0] for n in range(len(folds)) if n in numbers])
        rows = train_rows[np.array([numbers.index(n) for n in fold])]
        weights = jax.jit(_train, static_argnums=5, compiler_options=_QUICK)(
            state, tables, y.astype("int32"), fold, (rows, orders), workload.batch_size
        )
        outputs = np.asarray(jax.vmap(_forward)(weights, tables[fold], state["more"]))
        for lane, (c, n) in enumerate(lanes):
            test = folds[n][1]
            scores[c, n] = np.mean(outputs[lane][test].argmax(axis=1) == y[test])
    return [float(score) for score in scores.mean(axis=1)]


_QUICK = {"xla_backend_optimization_level": 0}


def _initial(candidate: dict[str, Any], n_inputs: int, n_classes: int, widest: int) -> Any:
    rng, units = np.random.default_rng(0), candidate["units"]

    def glorot(n_in: int, n_out: int, shape: tuple[int, int]) -> np.ndarray:
        limit = np.sqrt(6 / (n_in + n_out))
        padded = np.zeros(shape, "float32")
        padded[:n_in, :n_out] = rng.uniform(-limit, limit, (n_in, n_out))
        return padded

    weights = {
        "w1": glorot(n_inputs, units, (n_inputs, widest)),
        "b1": np.zeros(widest, "float32"),
        "w2": glorot(units, n_classes, (widest, n_classes)),
        "b2": np.zeros(n_classes, "float32"),
    }
    more = {
        "mask": (np.arange(widest) < units).astype("float32"),
        "relu": np.float32(candidate.get("activation", "relu") == "relu"),
        "rate": np.float32(candidate.get("learning_rate", 0.001)),
        "dropout": np.float32(candidate.get("dropout", 0.0)),
    }
    return {"weights": weights, "more": more}


def _forward(weights: Any, x: Any, more: Any, keep: Any = 1.0) -> Any:
    hidden = x @ weights["w1"] + weights["b1"]
    hidden = jnp.where(more["relu"] > 0, jax.nn.relu(hidden), jax.nn.sigmoid(hidden))
    return (hidden * more["mask"] * keep) @ weights["w2"] + weights["b2"]


def _train(state: Any, tables: Any, y: Any, fold: Any, order: Any, batch_size: int) -> Any:
    rows, orders = order

    def one(state: Any, fold: Any, rows: Any) -> Any:
        more = state["more"]

        def step(carry: Any, batch: Any) -> Any:
            weights, m, v, t, key = carry
            key, now = jax.random.split(key)
            taken = rows[batch]
            x = tables[fold, taken]
            drawn = jax.random.uniform(now, (len(batch), weights["b1"].shape[0]))
            keep = (drawn >= more["dropout"]) / (1 - more["dropout"])

            def loss(weights: Any) -> Any:
                logits = _forward(weights, x, more, keep)
                return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(batch)), y[taken]])

            gradient, t = jax.grad(loss)(weights), t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)
            rate = more["rate"] * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            weights = jax.tree.map(
                lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, m, v
            )
            return (weights, m, v, t, key), None

        def epoch(carry: Any, order: Any) -> Any:
            whole = len(order) // batch_size * batch_size
            carry, _ = jax.lax.scan(step, carry, order[:whole].reshape(-1, batch_size))
            if whole < len(order):
                carry, _ = step(carry, order[whole:])
            return carry, None

        zeros = jax.tree.map(jnp.zeros_like, state["weights"])
        carry = (state["weights"], zeros, zeros, 0.0, jax.random.key(0))
        (weights, *_), _ = jax.lax.scan(epoch, carry, orders)
        return weights

    return jax.vmap(one)(state, fold, rows)
