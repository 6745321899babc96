"""Weights whose input is dead: decay alone moves them, into ever smaller numbers."""

from __future__ import annotations

import numpy as np

import gradmill as gm


def test_moments_of_dead_weights_are_zero_not_subnormal() -> None:
    params = np.full(64, 1e-33, np.float32)
    opt = gm.Optimizer(gm.chain(gm.add_decayed_weights(1e-4), gm.scale_by_adam()), params)
    for _ in range(3):
        opt.step(np.zeros(64, np.float32))
    state = opt.state[1]
    for moment in (state.mu, state.nu):
        np.testing.assert_array_equal(moment, np.zeros(64, np.float32))
    np.testing.assert_array_equal(params, np.full(64, 1e-33, np.float32))


def test_small_gradients_still_count() -> None:
    tx = gm.scale_by_adam(eps=0.0)
    for size in (1e-15, 1e-17):
        grads = np.full(64, size, np.float32)
        updates, _ = tx.update(grads, tx.init(grads))
        np.testing.assert_allclose(updates, np.ones(64), rtol=1e-6)
