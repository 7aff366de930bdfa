"""The private things that we touch are still where they were."""

from __future__ import annotations

import keras
import numpy as np

from amalthea import privates


def test_the_random_state_of_keras_can_be_kept_and_put_back() -> None:
    privates.set_keras_state(privates.AS_AT_START)
    keras.utils.set_random_seed(5)
    keras.random.uniform((2,))
    state = privates.keras_state()
    assert state[0] == 5 and isinstance(state[1], keras.random.SeedGenerator)
    expected = np.asarray(keras.random.uniform((3,)))

    privates.set_keras_state(privates.AS_AT_START)
    keras.utils.set_random_seed(5)
    keras.random.uniform((2,))
    state = privates.keras_state()
    privates.set_keras_state(privates.AS_AT_START)
    keras.utils.set_random_seed(99)
    keras.random.uniform((4,))
    privates.set_keras_state(state)
    assert np.array_equal(np.asarray(keras.random.uniform((3,))), expected)


def test_the_counters_of_names_start_anew_and_are_put_back() -> None:
    before = keras.layers.Dense(1).name
    state = privates.keras_state()
    privates.set_keras_state(privates.AS_AT_START)
    assert keras.layers.Dense(1).name == "dense"
    privates.set_keras_state(state)
    number = int(before.rpartition("_")[2]) if "_" in before else 0
    assert keras.layers.Dense(1).name == f"dense_{number + 1}"


def test_the_mask_that_goes_with_an_array_is_found() -> None:
    masked = keras.layers.Masking(0.0)(np.array([[[1.0], [0.0]]], "float32"))
    assert np.array_equal(privates.keras_mask(masked), [[True, False]])
    assert privates.keras_mask(np.zeros(3)) is None
