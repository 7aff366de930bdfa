"""The arithmetic of a workload, and the most of it that this machine does in a second.

python arithmetic.py        prints float32 operations per second, in an environment with JAX
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from networks import Network, network_of
from workloads import Workload

PASSES = 3  # forward, and backward with respect to weights and to inputs
_SIZE = 3072
_TRIES = 8


def operations(workload: Workload) -> float:
    """Floating-point operations of all fits: matrix products alone, so rather too few."""
    total = 0.0
    for candidate in workload.candidates:
        first, rest = _products(network_of(workload, candidate))
        per_row = first * (PASSES - 1) + rest * PASSES  # nobody wants the gradient of the inputs
        for train, test in workload.folds():
            epochs = workload.epochs_of(candidate)
            total += 2 * (len(train) * epochs * per_row + len(test) * (first + rest))
    return total


def _products(network: Network) -> tuple[int, int]:
    """Multiplications for one row: of the first layer, and of the others."""
    if network.kind == "cnn":
        return 8 * 8 * 9 * 32, 4 * 4 * 9 * 32 * 64 + 4 * 64 * 10
    if network.kind == "gru":
        units = network.widths[0]
        return 32 * 3 * units * network.inputs, 32 * 3 * units * units + units * network.outputs
    sizes = (network.inputs, *network.widths, network.outputs)
    products = [a * b for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
    return products[0], sum(products[1:])


def peak() -> float:
    """Operations per second of a large matrix product: NumPy's or JAX's, whichever is faster."""
    import jax
    import jax.numpy as jnp

    one = np.random.default_rng(0).random((_SIZE, _SIZE), dtype="float32")
    other, product = jnp.asarray(one), jax.jit(jnp.matmul)
    seconds = min(
        _fastest(lambda: one @ one), _fastest(lambda: product(other, other).block_until_ready())
    )
    return 2 * _SIZE**3 / seconds


def _fastest(work: Callable[[], Any]) -> float:
    work()
    times = []
    for _ in range(_TRIES):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    print(peak())
