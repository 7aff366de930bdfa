"""Initial values are Keras's own to the bit, without a compilation per shape."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import keras
import numpy as np
import pytest

from amalthea.engine import uniform_draws
from amalthea.engine.initial_values import initial_values

INITIALIZERS = [
    "glorot_uniform",
    "he_uniform",
    "lecun_uniform",
    "glorot_normal",
    "he_normal",
    "random_uniform",
    "random_normal",
    "truncated_normal",
    "orthogonal",
    "zeros",
    "ones",
    "identity",
]


@pytest.mark.parametrize("shape", [(4, 7), (33, 33), (2000, 3)])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_values_are_those_of_keras(name: str, shape: tuple[int, ...]) -> None:
    def values() -> np.ndarray:
        keras.utils.set_random_seed(5)
        return np.asarray(keras.initializers.get(name)(shape))

    expected = values()
    for _ in range(2):  # drawn, and remembered
        with initial_values():
            np.testing.assert_array_equal(values(), expected)


def test_other_keys_bounds_and_types_draw_otherwise() -> None:
    keys = [jax.random.key_data(jax.random.key(n)) for n in (1, 2)]

    def draw(key: Any, **more: Any) -> np.ndarray:
        return np.asarray(jax.random.uniform(key, shape=(5,), **more))

    cases: list[tuple[Any, dict[str, Any]]] = [
        (keys[0], {}),
        (keys[1], {}),
        (keys[0], {"minval": -1.0}),
        (keys[0], {"maxval": 3}),
        (keys[0], {"dtype": "float16"}),
        (jax.random.key(3), {}),
        (keys[0], {"minval": np.arange(5.0), "maxval": np.arange(5.0) + 2}),
    ]
    expected = [draw(key, **more) for key, more in cases]
    with initial_values():
        drawn = [draw(key, **more) for key, more in cases]
    for one, other in zip(drawn, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_the_functions_are_put_back() -> None:
    before = (jax.random.uniform, jax.numpy.zeros, jax.numpy.ones)
    with pytest.raises(ZeroDivisionError), initial_values():
        assert jax.random.uniform is not before[0]
        raise ZeroDivisionError
    assert (jax.random.uniform, jax.numpy.zeros, jax.numpy.ones) == before


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        ([2**32 - 1, 0], "uint32"),
        ([3, -1], "uint32"),
        ([2**40, 0], "uint32"),
        (0.1, "float32"),
        (1 / 3, "float64"),
        (1e300, "float32"),
        (float("nan"), "float32"),
        (0.1, "bfloat16"),
        (7, "int32"),
        (7, "int64"),
        (7, "float32"),
        (True, "bool"),
        ([0.1, 3], "float32"),
        ([], "float32"),
        ([[1, 2]], "int32"),
        (np.arange(3), "int32"),
        (2**31, "int32"),
        (3, None),
    ],
)
def test_numbers_become_arrays_as_ever(x: Any, dtype: Any) -> None:
    def made() -> Any:
        try:
            array = jax.numpy.asarray(x, dtype=dtype)
        except Exception as error:
            return type(error)
        return (
            np.asarray(array).tobytes(),
            array.dtype,
            array.shape,
            array.weak_type,
            array.sharding,
        )

    with warnings.catch_warnings(record=True) as theirs:
        warnings.simplefilter("always")
        expected = made()
    with warnings.catch_warnings(record=True) as ours, initial_values():
        warnings.simplefilter("always")
        assert made() == expected
    assert [str(one.message) for one in ours] == [str(one.message) for one in theirs]


def test_traced_code_is_left_alone() -> None:
    def function(key: Any) -> Any:
        return jax.random.uniform(key, shape=(3,))

    key = jax.random.key(0)
    expected = np.asarray(jax.jit(function)(key))
    with initial_values():
        np.testing.assert_array_equal(np.asarray(jax.jit(lambda key: function(key))(key)), expected)


def test_numpy_draws_what_jax_draws() -> None:
    if not uniform_draws.can_be_drawn_here():
        pytest.skip("this device rounds otherwise")
    rng = np.random.default_rng(0)
    for seed in range(40):
        key = np.asarray(jax.random.key_data(jax.random.key(seed * 7919)))
        size, bound = int(rng.integers(1, 3000)), float(rng.uniform(0.001, 3))
        expected = jax.random.uniform(key, (size,), "float32", -bound, bound / 3)
        drawn = uniform_draws.uniform(key, size, -bound, bound / 3)
        np.testing.assert_array_equal(drawn, np.asarray(expected))
