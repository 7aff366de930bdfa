"""The program of the limit: scan over steps, all lanes side by side in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from lanes import Static

EPSILON = 1e-7
_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda z: jnp.maximum(z, 0),
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "softmax": jax.nn.softmax,
    "softplus": jax.nn.softplus,
    "softsign": lambda z: z / (1 + jnp.abs(z)),
    "hard_sigmoid": lambda z: jnp.clip(z / 6 + 0.5, 0, 1),
    "linear": lambda z: z,
}


def program(static: Static) -> Callable[[Any, Any], Any]:
    """From shared arrays and lanes to what each lane's trained network gives on its test rows."""

    def run(shared: Any, lanes: Any) -> Any:
        weights = lanes["weights"]
        slots = _first_slots(static, weights)
        numbers = jnp.arange(shared["rows"].shape[1])
        body = _step(static, shared, lanes)
        (weights, _), _ = jax.lax.scan(body, (weights, slots), numbers)

        def tested(lane: Any, own: Any) -> Any:
            x = shared["X"][lane["scaled"], shared["tests"][lane["fold"]]]
            return _forward(static, own, lane, x, None)

        return jax.vmap(tested)(lanes, weights)

    return run


def _step(static: Static, shared: Any, lanes: Any) -> Callable[[Any, Any], Any]:
    def step(carry: Any, number: Any) -> Any:
        weights, slots = carry
        noise = shared["noise"][number] if static.has_dropout else None

        def gradients(lane: Any, own: Any) -> Any:
            rows = shared["rows"][lane["order"], number]
            x, y = shared["X"][lane["scaled"], rows], shared["y"][rows]
            live = (rows >= 0).astype("float32")
            return jax.grad(_loss)(own, static, lane, x, y, live, noise), live.any()

        slopes, alive = jax.vmap(gradients)(lanes, weights)
        new = _updated(static, lanes, weights, slots, slopes, number + 1.0)
        return jax.tree.map(lambda n, o: _where(alive, n, o), new, carry), None

    return step


def _where(alive: Any, new: Any, old: Any) -> Any:
    return jnp.where(alive.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _forward(static: Static, weights: Any, lane: Any, x: Any, noise: Any) -> Any:
    for layer, mask in enumerate(lane["masks"]):
        z = x @ weights[2 * layer] + weights[2 * layer + 1]
        x = _activated(static, lane, jnp.where(mask > 0, z, -1e9), z) * mask
    if noise is not None:
        x = jnp.where(noise >= lane["dropout"], x / (1 - lane["dropout"]), 0)
    return x @ weights[-2] + weights[-1]


def _activated(static: Static, lane: Any, z_or_low: Any, z: Any) -> Any:
    """One of the activations of the grid; a softmax must not see units that are padding."""

    def of(name: str) -> Any:
        return _ACTIVATIONS[name](z_or_low if name == "softmax" else z)

    out = of(static.activations[0])
    for number, name in enumerate(static.activations[1:], start=1):
        out = jnp.where(lane["activation"] == number, of(name), out)
    return out


def _loss(weights: Any, static: Static, lane: Any, x: Any, y: Any, live: Any, noise: Any) -> Any:
    outputs = _forward(static, weights, lane, x, noise)
    if static.head == "softmax":
        each = jax.nn.logsumexp(outputs, axis=1) - jnp.take_along_axis(outputs, y[:, None], 1)[:, 0]
    elif static.head == "sigmoid":
        each = jax.nn.softplus(outputs[:, 0]) - y * outputs[:, 0]
    else:
        each = (outputs[:, 0] - y) ** 2
    penalty = lane["l2"] * jnp.sum(weights[0] ** 2) if static.has_l2 else 0.0
    return jnp.sum(each * live) / jnp.maximum(jnp.sum(live), 1) + penalty


def _updated(
    static: Static, lanes: Any, weights: Any, slots: Any, slopes: Any, t: Any
) -> tuple[Any, Any]:
    """One step of each lane's optimizer; lanes of one optimizer stand beside each other."""
    done, first = [], 0
    for name, count in static.optimizers:
        some = slice(first, first + count) if len(static.optimizers) > 1 else slice(None)
        done.append(_by(name, some, lanes, weights, slots, slopes, t))
        first += count
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), *done)
    new_weights, new_slots = [new for new, _ in joined], [own for _, own in joined]
    if static.has_max_norm:
        new_weights[0] = _bounded(new_weights[0], lanes["max_norm"])
    return new_weights, new_slots


def _by(name: str, some: slice, lanes: Any, weights: Any, slots: Any, slopes: Any, t: Any) -> Any:
    results = []
    for w, own, g in zip(weights, slots, slopes, strict=True):
        w, own, g = w[some], jax.tree.map(lambda a: a[some], own), g[some]
        per_lane = (-1, *[1] * (w.ndim - 1))
        lane = {
            key: lanes[key][some].reshape(per_lane)
            for key in ("learning_rate", "momentum", "weight_decay")
        }
        results.append(_OPTIMIZERS[name](w, own, g, lane, t))
    return results


def _bounded(kernel: Any, bound: Any) -> Any:
    norms = jnp.sqrt(jnp.sum(kernel**2, axis=1, keepdims=True))
    return kernel * jnp.clip(norms, 0, bound[:, None, None]) / (norms + EPSILON)


# Keras's optimizers with their default settings: weights, two slots, gradient, lane, step number.


def _sgd(w: Any, own: Any, g: Any, lane: Any, t: Any) -> Any:
    speed = lane["momentum"] * own[0] - lane["learning_rate"] * g
    return w + speed, (speed, own[1])


def _rmsprop(w: Any, own: Any, g: Any, lane: Any, t: Any) -> Any:
    v = 0.9 * own[0] + 0.1 * g * g
    return w - lane["learning_rate"] * g * jax.lax.rsqrt(v + EPSILON), (v, own[1])


def _adagrad(w: Any, own: Any, g: Any, lane: Any, t: Any) -> Any:
    v = own[0] + g * g
    return w - lane["learning_rate"] * g * jax.lax.rsqrt(v + EPSILON), (v, own[1])


def _adadelta(w: Any, own: Any, g: Any, lane: Any, t: Any) -> Any:
    v = 0.95 * own[0] + 0.05 * g * g
    change = -jnp.sqrt(own[1] + EPSILON) * g * jax.lax.rsqrt(v + EPSILON)
    return w + lane["learning_rate"] * change, (v, 0.95 * own[1] + 0.05 * change * change)


def _adam(w: Any, own: Any, g: Any, lane: Any, t: Any) -> Any:
    m, v = 0.9 * own[0] + 0.1 * g, 0.999 * own[1] + 0.001 * g * g
    rate = lane["learning_rate"] * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return w - rate * m / (jnp.sqrt(v) + EPSILON), (m, v)


def _adamw(w: Any, own: Any, g: Any, lane: Any, t: Any) -> Any:
    return _adam(w * (1 - lane["learning_rate"] * lane["weight_decay"]), own, g, lane, t)


def _adamax(w: Any, own: Any, g: Any, lane: Any, t: Any) -> Any:
    m, u = 0.9 * own[0] + 0.1 * g, jnp.maximum(0.999 * own[1], jnp.abs(g))
    return w - lane["learning_rate"] / (1 - 0.9**t) * m / (u + EPSILON), (m, u)


def _nadam(w: Any, own: Any, g: Any, lane: Any, t: Any) -> Any:
    m, v = 0.9 * own[0] + 0.1 * g, 0.999 * own[1] + 0.001 * g * g
    now, later = _nadam_beta(t), _nadam_beta(t + 1)
    product = _nadam_product(t)
    m_hat = later * m / (1 - product * later) + (1 - now) * g / (1 - product)
    v_hat = v / (1 - 0.999**t)
    return w - lane["learning_rate"] * m_hat / (jnp.sqrt(v_hat) + EPSILON), (m, v)


def _nadam_beta(t: Any) -> Any:
    return 0.9 * (1 - 0.5 * 0.96**t)


def _nadam_product(t: Any) -> Any:
    """The product of all betas up to step t; far out it is nothing."""
    steps = jnp.arange(1, 400)
    return jnp.prod(jnp.where(steps <= t, _nadam_beta(steps), 1.0))


_OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "SGD": _sgd,
    "RMSprop": _rmsprop,
    "Adagrad": _adagrad,
    "Adadelta": _adadelta,
    "Adam": _adam,
    "AdamW": _adamw,
    "Adamax": _adamax,
    "Nadam": _nadam,
}


def _first_slots(static: Static, weights: Any) -> Any:
    """Two slots for each array of weights: zeros, but for Adagrad's first, which Keras fills."""
    kinds = [name for name, count in static.optimizers for _ in range(count)]
    filled = jnp.array([0.1 if kind == "Adagrad" else 0.0 for kind in kinds])

    def of(w: Any) -> Any:
        if len(static.optimizers) == 1:
            first = jnp.full_like(w, 0.1 if kinds[0] == "Adagrad" else 0.0)
        else:
            first = jnp.zeros_like(w) + filled.reshape(-1, *[1] * (w.ndim - 1))
        return first, jnp.zeros_like(w)

    return [of(w) for w in weights]
