"""Parts of a step that many models have in common: each is traced once for all of them.

What an optimizer does depends on the optimizer and on the shapes of the weights alone, what a loss
and metrics do on themselves and on the shapes of targets and outputs: not on what a model is like
in between. They are more than half of a step of a small model.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import jax
import keras

from ..privates import keras_mask
from .alike import settings
from .likeness import Likeness, likeness
from .recent import keep
from .told import Telling

PARTS_KEPT = 128
_UPDATE = "update"
# What is called on the way, and what somebody may have put on a model by hand.
_CALLED = frozenset({"compute_loss", "compute_metrics", "get_metrics_result"})

Function = Callable[..., Any]


class SharedParts:
    """Parts that were traced, without the models that they came from."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, _Part] = OrderedDict()

    def clear(self) -> None:
        self._known.clear()

    @contextmanager
    def shared(self, model: keras.Model, is_told: bool) -> Iterator[None]:
        """Within this block, a step of that model is traced with the parts that are known.

        Only those of which a likeness tells what they do; of a model that none tells (``is_told``),
        the update alone.
        """
        # Of Keras's methods, those that its own steps call and that one may override.
        with ExitStack() as after:
            for owner, name, like, shared in (
                (model.optimizer, "stateless_apply", _like_update(model), self._update),
                (model, "compute_loss", _like_loss(model, is_told), self._loss),
                (model, "compute_metrics", _like_metrics(model, is_told), self._metrics),
            ):
                if like is not None and name not in vars(owner):
                    setattr(owner, name, shared(owner, getattr(owner, name), like))
                    after.callback(delattr, owner, name)
            yield

    def _update(
        self, optimizer: keras.optimizers.Optimizer, own: Function, like: Likeness
    ) -> Function:
        return lambda *given: self._call(_UPDATE, like, own, given)

    def _loss(self, model: keras.Model, own: Function, like: Likeness) -> Function:
        def compute_loss(
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            if model.losses or _is_masked(y_pred):  # what layers add depends on more
                return own(x, y, y_pred, sample_weight, training=training)

            def of_arrays(*given: Any) -> Any:
                return own(None, *given, training=training)

            kind = "loss", training
            return self._with_metrics(kind, like, model, of_arrays, (y, y_pred, sample_weight))

        return compute_loss

    def _metrics(self, model: keras.Model, own: Function, like: Likeness) -> Function:
        def compute_metrics(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            if _is_masked(y_pred):
                return own(x, y, y_pred, sample_weight)

            def of_arrays(*given: Any) -> Any:
                return own(None, *given)

            given = y, y_pred, sample_weight
            return self._with_metrics("metrics", like, model, of_arrays, given)

        return compute_metrics

    def _with_metrics(
        self, kind: Hashable, like: Likeness, model: keras.Model, own: Function, given: Any
    ) -> Any:
        """The result of a function that reads and changes variables of metrics."""
        variables = model.metrics_variables

        def of_arrays(values: list[Any], *given: Any) -> Any:
            scope = keras.StatelessScope(list(zip(variables, values, strict=True)))
            with scope:
                result = own(*given)
            after = [scope.get_current_value(variable) for variable in variables]
            pairs = enumerate(zip(values, after, strict=True))
            return result, {number: new for number, (old, new) in pairs if new is not old}

        values = [variable.value for variable in variables]
        result, changed = self._call(kind, like, of_arrays, (values, *given))
        for number, value in changed.items():
            variables[number].assign(value)
        return result

    def _call(self, kind: Hashable, like: Likeness, own: Function, given: Any) -> Any:
        leaves, tree = jax.tree.flatten(given)
        key = (kind, like, settings(), tree, *map(jax.typeof, leaves))
        part = self._known.get(key)
        if part is None or not part.telling.holds():  # somebody has patched a class meanwhile
            telling = like.telling()
            if telling.digest is None:  # or it is patched now
                return own(*given)
            part = _Part(telling, at_once=kind == _UPDATE)
        keep(self._known, key, part, PARTS_KEPT)
        return part(own, given)


class _Part:
    """A function that is traced when it is first called.

    Parameters
    ----------
    telling : Telling
        Holds as long as what was traced is what would be.
    at_once : bool
        Whether functions of JAX within it are not traced by themselves, for each shape.
    """

    def __init__(self, telling: Telling, at_once: bool) -> None:
        self.telling, self._at_once = telling, at_once
        self._own: Function | None = None
        self._call = jax.jit(self._traced)

    def __call__(self, own: Function, given: Any) -> Any:
        self._own = own  # one is as good as another, and none is kept
        try:
            return self._call(*given)
        finally:
            self._own = None

    def _traced(self, *given: Any) -> Any:
        assert self._own is not None
        with jax.disable_jit() if self._at_once else nullcontext():
            return self._own(*given)


def _like_update(model: keras.Model) -> Likeness | None:
    optimizer = model.optimizer
    return likeness(optimizer, [model.trainable_variables, optimizer.variables])


def _like_loss(model: keras.Model, is_told: bool) -> Likeness | None:
    losses = [one for one in vars(model).values() if isinstance(one, keras.losses.Loss)]
    return _like(model, losses) if is_told else None


def _like_metrics(model: keras.Model, is_told: bool) -> Likeness | None:
    return _like(model, model.metrics) if is_told else None


def _like(model: keras.Model, does: list[Any]) -> Likeness | None:
    """What methods of Keras's model do with these, which they find in it."""
    if not _CALLED.isdisjoint(vars(model)):
        return None
    return likeness([type(model), *does, model.metrics], [model.metrics_variables])


def _is_masked(y_pred: Any) -> bool:
    """Whether there is a mask that an output carries with it, besides its values."""
    return any(keras_mask(leaf) is not None for leaf in jax.tree.leaves(y_pred))
