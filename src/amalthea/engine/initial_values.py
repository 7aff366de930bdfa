"""Initial values of variables without a compilation for each new shape.

Keras draws and fills initial values with functions of JAX that are compiled anew for every shape:
0.4 s for each new width of a small model. Within :func:`initial_values` the same functions give the
same values another way. Filled arrays and single numbers come from NumPy, and so do uniform ones
on CPUs (:mod:`.uniform_draws`). Elsewhere they are drawn flat, as many as the next power of two,
and cut: with JAX's partitionable generator a number depends on the key and on its place alone, so
they are equal to the bit. (So are the bits behind normal ones, but compilers round the last
elements of an array otherwise on the way from uniform to normal.)
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import uniform_draws
from .recent import keep

FEWEST_DRAWN, MOST_DRAWN = 2**10, 2**20  # beyond, drawing too many costs more than compiling

MOST_KEPT = 256  # arrays of the smallest size
_LARGEST_FLOAT = float(np.finfo("float32").max)
_LARGEST_EXACT = 2**24  # up to there floats are all whole numbers

_one_at_a_time = RLock()
_drawn_before: OrderedDict[Any, np.ndarray] = OrderedDict()


@contextmanager
def initial_values() -> Iterator[None]:
    """Draw and fill arrays without compiling per shape while the block runs.

    The functions are replaced where everyone looks them up, in ``jax.random`` and ``jax.numpy``,
    and put back. They do the same for whoever else calls them meanwhile.
    """
    if not _can_cut():
        yield
        return
    with _one_at_a_time:
        before = {(module, name): getattr(module, name) for module, name in _REPLACED}
        try:
            for (module, name), make in _REPLACED.items():
                setattr(module, name, make(before[module, name]))
            yield
        finally:
            for (module, name), function in before.items():
                setattr(module, name, function)


def _can_cut() -> bool:
    config: Any = jax.config
    generator = config.jax_default_prng_impl == "threefry2x32"
    return bool(generator and config.jax_threefry_partitionable and not config.jax_enable_x64)


def _drawn(draw: Callable[..., Any]) -> Callable[..., Any]:
    def flat(*arguments: Any, **named: Any) -> Any:
        shape: Any = named.get("shape")  # as Keras gives it
        size = math.prod(shape) if _is_shape(shape) else 0
        if not 0 < size <= MOST_DRAWN or not _plain((arguments, named)):
            return draw(*arguments, **named)
        by_numpy = _by_numpy(arguments, named, size)
        if by_numpy is not None:
            return jax.device_put(by_numpy.reshape(shape))
        several = max(FEWEST_DRAWN, 2 ** math.ceil(math.log2(size)))
        drawn = _once(draw, several, arguments, {**named, "shape": (several,)})
        return jax.device_put(drawn[:size].reshape(shape))

    return flat


def _by_numpy(arguments: Any, named: dict[str, Any], size: int) -> np.ndarray | None:
    """What is drawn, where NumPy can draw it too."""
    plain = len(arguments) == 1 and named.keys() == {"shape", "dtype", "minval", "maxval"}
    if not plain or named["dtype"] != "float32" or not uniform_draws.can_be_drawn_here():
        return None
    key = np.asarray(arguments[0])
    if key.dtype != "uint32" or key.shape != (2,):
        return None
    return uniform_draws.uniform(key, size, named["minval"], named["maxval"])


def _once(draw: Callable[..., Any], size: int, arguments: Any, named: dict[str, Any]) -> np.ndarray:
    """What is drawn; models with one seed draw the same again and again."""
    if size > FEWEST_DRAWN:
        return np.asarray(draw(*arguments, **named))
    parts = [*arguments, *named.values()]
    key = (draw, *named, *(np.asarray(part).tobytes() for part in parts), *map(type, parts))
    drawn = _drawn_before.get(key)
    if drawn is None:
        drawn = np.asarray(draw(*arguments, **named))
    keep(_drawn_before, key, drawn, MOST_KEPT)
    return drawn


def _filled(value: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def make(fill: Callable[..., Any]) -> Callable[..., Any]:
        def filled(shape: Any, dtype: Any = None, **more: Any) -> Any:
            shape = (shape,) if isinstance(shape, int) else shape
            if more or dtype is None or not _is_shape(shape):
                return fill(shape, dtype, **more)
            return jax.device_put(np.full(shape, value, jax.dtypes.canonicalize_dtype(dtype)))

        return filled

    return make


def _from_numbers(convert: Callable[..., Any]) -> Callable[..., Any]:
    def converted(x: Any, dtype: Any = None, **more: Any) -> Any:
        """A few numbers of Python's, such as a seed; JAX would compile the conversion."""
        if more or dtype is None or not _exact(x, dtype):
            return convert(x, dtype, **more)
        return jax.device_put(np.asarray(x, dtype))

    return converted


def _exact(x: Any, dtype: Any) -> bool:
    """Whether NumPy converts it as JAX does: whole numbers in range, or a float once rounded."""
    if dtype == "float32" and type(x) is not list:
        most = _LARGEST_FLOAT if type(x) is float else _LARGEST_EXACT
        return type(x) in (int, float) and abs(x) <= most
    numbers = x if type(x) is list else [x]
    if not numbers or dtype not in ("int32", "uint32"):
        return False
    ends = np.iinfo(dtype)
    return all(type(number) is int and ends.min <= number <= ends.max for number in numbers)


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple | list) and all(isinstance(n, int) for n in shape)


def _plain(arguments: Any) -> bool:
    """Whether they are a key as Keras has it, and scalars; nothing that is being traced."""
    arrays = [leaf for leaf in jax.tree.leaves(arguments) if hasattr(leaf, "dtype")]
    return not any(
        isinstance(array, jax.core.Tracer)
        or jax.dtypes.issubdtype(array.dtype, jax.dtypes.extended)
        or (np.ndim(array) > 0 and array.dtype != "uint32")
        for array in arrays
    )


_REPLACED: dict[tuple[Any, str], Callable[..., Any]] = {
    (jax.random, "uniform"): _drawn,
    (jnp, "zeros"): _filled(0),
    (jnp, "ones"): _filled(1),
    (jnp, "asarray"): _from_numbers,
}
