"""The noise of add_noise against that of optax, number by number."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm


@pytest.mark.parametrize("seed", [0, 42, 2**31, 2**32 - 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_seed_same_noise(seed: int, dtype: Any) -> None:
    with jax.enable_x64(dtype == np.float64):
        params = {"a": np.zeros((100, 301), dtype), "b": np.zeros((), dtype), "c": None}
        ours, theirs = gm.add_noise(1.0, 0.0, seed), optax.add_noise(1.0, 0.0, seed)
        state, their_state = ours.init(params), theirs.init(params)
        for _ in range(2):
            noise, state = ours.update(params, state)
            their_noise, their_state = theirs.update(params, their_state)
            np.testing.assert_array_equal(state.rng_key, jax.random.key_data(their_state.rng_key))
            for name in ("a", "b"):
                mine, other = noise[name], np.asarray(their_noise[name])
                assert mine.dtype == other.dtype
                # In float64 JAX's own logarithm is off by up to 30 units in the last place.
                ulps = 4 if dtype == np.float32 else 40
                assert (np.abs(mine - other) <= ulps * np.spacing(np.abs(other))).all()
