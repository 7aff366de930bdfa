"""A fit by the engine and by Keras alone, and how the two are compared.

Keras is called on the documented seed and batch order. Both compile the same functions; the
tolerance is for another order of sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np

import amalthea
from amalthea.engine.forms import Engine
from amalthea.engine.obstacles import why_not_compiled
from amalthea.engine.requests import FitRequest
from amalthea.engine.rows import Rows
from kinds_of_models import SEED

EPOCHS, BATCH = 3, 16
COMPILED = ["stacked", "loop", "steps"]
ENGINE = Engine()
ON_CPU = jax.default_backend() == "cpu"


def by_keras(
    model: keras.Model,
    rows: Rows,
    seed: int = SEED,
    epochs: int = EPOCHS,
    batch_size: int = BATCH,
    **fit: Any,
) -> Any:
    order = amalthea.batch_order(len(rows), epochs, seed)

    def batches() -> Any:
        for epoch in order:
            for start in range(0, len(rows), batch_size):
                yield rows.take(epoch[start : start + batch_size])

    steps = -(-len(rows) // batch_size)
    return model.fit(
        batches(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False, **fit
    )


class KerasAlone:
    """Models to be fitted by Keras, each as it is when it is made.

    Those of one function are made once, and get their first values again each time: Keras's program
    for a model is its own, and to make it is most of what a small fit takes. They must be built.
    """

    def __init__(self) -> None:
        self._made: dict[Callable[[], keras.Model], tuple[keras.Model, list[Any]]] = {}

    def model(self, make: Callable[[], keras.Model]) -> keras.Model:
        if make not in self._made:
            model = make()
            model.optimizer.build(model.trainable_variables)
            self._made[make] = model, [np.array(v.value) for v in _variables(model)]
        model, values = self._made[make]
        for variable, value in zip(_variables(model), values, strict=True):
            variable.assign(value)
        return model


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def request_for(model: keras.Model, rows: Rows, seed: int = SEED, **more: Any) -> FitRequest:
    return FitRequest(model, rows, seed, more.pop("epochs", EPOCHS), batch_size=BATCH, **more)


def trained(engine: Engine, request: FitRequest) -> Any:
    (result,) = engine.train([request])
    if isinstance(result, Exception):
        raise result
    return result


def train(requests: list[FitRequest], form: str | None = None) -> list[Any]:
    results = Engine(form=form).train(requests)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def by_engine(model: keras.Model, rows: Rows, **more: Any) -> Any:
    request = FitRequest(model, rows, SEED, EPOCHS, batch_size=BATCH, **more)
    assert why_not_compiled(request) is None
    return trained(ENGINE, request)


def assert_equal(ours: keras.Model, theirs: keras.Model, rtol: float = 1e-5) -> None:
    for group in ("variables", "optimizer_variables"):
        pairs = zip(values_of(ours, group), values_of(theirs, group), strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-6)


def values_of(model: keras.Model, group: str) -> list[np.ndarray]:
    variables = model.variables if group == "variables" else model.optimizer.variables
    return [np.asarray(keras.ops.convert_to_numpy(v.value), dtype="float64") for v in variables]


def assert_same_history(ours: Any, theirs: Any) -> None:
    assert ours.epochs == theirs.epoch
    assert ours.history.keys() == theirs.history.keys()
    for name, values in theirs.history.items():
        np.testing.assert_allclose(ours.history[name], values, rtol=1e-5, atol=1e-7)
