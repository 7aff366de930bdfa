"""What an optimizer does in a step, traced once for all models that it does the same to.

It is a third of a step of a small model, and depends on the optimizer and on the shapes of the
weights alone: not on the size of the batch, nor on what happens between the weights.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import keras
from jax.extend.core import jaxpr_as_fun

from .alike import settings
from .likeness import likeness
from .recent import keep
from .told import Telling

UPDATES_KEPT = 64
_NAME = "stateless_apply"  # what Keras's own step calls

Update = Callable[..., Any]


class SharedUpdates:
    """Updates that were traced, without the optimizers that they came from."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, tuple[Update, Telling]] = OrderedDict()

    def clear(self) -> None:
        self._known.clear()

    @contextmanager
    def shared(self, model: keras.Model) -> Iterator[None]:
        """Within this block, a step of that model is traced with the updates that are known.

        Only where a likeness tells what its optimizer does.
        """
        optimizer = model.optimizer
        like = likeness(optimizer, [model.trainable_variables, optimizer.variables])
        if like is None or _NAME in vars(optimizer):
            yield
            return
        own: Update = getattr(optimizer, _NAME)

        def shared(*given: Any) -> Any:
            leaves, tree = jax.tree.flatten(given)
            shapes = [jax.typeof(leaf) for leaf in leaves]
            key = (like, settings(), tree, *shapes)
            known = self._known.get(key)
            if known is None or not known[1].holds():  # somebody has patched a class meanwhile
                known = _traced(own, tree, shapes), like.telling()
            keep(self._known, key, known, UPDATES_KEPT)
            return known[0](leaves)

        setattr(optimizer, _NAME, shared)
        try:
            yield
        finally:
            delattr(optimizer, _NAME)


def _traced(own: Update, tree: Any, shapes: list[Any]) -> Update:
    like = [
        jax.ShapeDtypeStruct(shape.shape, shape.dtype, weak_type=shape.weak_type)
        for shape in shapes
    ]

    def of_leaves(*leaves: Any) -> Any:
        return own(*jax.tree.unflatten(tree, leaves))

    with jax.disable_jit():  # or each function of JAX in it is traced by itself, for each shape
        program, result = jax.make_jaxpr(of_leaves, return_shape=True)(*like)
    call, form = jax.jit(jaxpr_as_fun(program)), jax.tree.structure(result)
    return lambda leaves: jax.tree.unflatten(form, call(*leaves))
