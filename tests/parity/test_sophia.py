"""Sophia and its estimate of the Hessian against optax's, which differentiates the loss."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill.jax import to_optax
from tests.cases.arguments import only_kernels
from tests.on_jax import to_jax
from tests.parity.test_optax import same_kind
from tests.trees import assert_close, bits, copy_tree, random_tree

ROWS: dict[str, Any] = {
    "hutchinson": lambda m: m.contrib.hutchinson_estimator_diag_hessian(),
    "sophia": lambda m: m.contrib.sophia(0.1),
    "sophia_args": lambda m: m.contrib.sophia(0.1, 0.8, 0.9, 1e-3, 0.01, only_kernels, 0.5, 0.3, 3),
    "sophia_free": lambda m: m.contrib.sophia(0.1, gamma=1.0, clip_threshold=None, eps=0.1),
}
TOLERANCE = {
    np.float32: {"rtol": 1e-4, "atol": 2e-6},
    np.float64: {"rtol": 1e-9, "atol": 1e-12},
}

each_row = pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)


def loss(params: Any) -> Any:
    """All parameters interact, so that the signs matter."""
    leaves = jax.tree.leaves(params)
    powers = sum(jnp.sum(leaf**2 / 2 + leaf**4 / 12) for leaf in leaves)
    return powers + 0.05 * sum(jnp.sum(leaf) for leaf in leaves) ** 2


derivative = jax.jit(jax.grad(loss))


def gradients(params: Any) -> Any:
    return jax.tree.map(np.asarray, derivative(to_jax(params)))


def hvp(params: Any, vector: Any) -> Any:
    total = sum(np.sum(leaf) for leaf in jax.tree.leaves(vector))
    return jax.tree.map(lambda p, v: (1 + p * p) * v + 0.1 * total, params, vector)


@each_row
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
def test_ten_steps(make: Any, dtype: Any) -> None:
    with jax.enable_x64(dtype == np.float64):
        ours, theirs = make(gm), make(optax)
        params = random_tree(0, dtype)
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        update = jax.jit(lambda *args: theirs.update(*args, obj_fn=loss))
        for _ in range(10):
            same_kind(state, their_state)
            grads = gradients(params)
            updates, state = ours.update(grads, state, params, hvp_fn=hvp)
            expected, their_state = update(to_jax(grads), their_state, to_jax(params))
            assert_close(updates, expected, **TOLERANCE[dtype])
            assert_close(state, their_state, **TOLERANCE[dtype])
            moves = jax.tree.map(lambda u: 0.1 * np.asarray(u), expected)
            params = gm.apply_updates(params, moves)


@each_row
def test_all_ways_give_the_same(make: Any) -> None:
    tx, params = make(gm), random_tree(0)
    loaded = pickle.loads(pickle.dumps(tx))
    assert repr(loaded) == repr(tx)
    opts = [gm.Optimizer(each, copy_tree(params)) for each in (tx, gm.chain(loaded))]
    lowered = to_optax(tx)
    state, in_jax = tx.init(params), lowered.init(to_jax(params))
    update = jax.jit(lambda *args: lowered.update(*args, obj_fn=loss))
    for _ in range(3):
        grads = gradients(params)
        updates, state = tx.update(grads, state, params, hvp_fn=hvp)
        made, in_jax = update(to_jax(grads), in_jax, to_jax(params))
        assert_close(made, updates, rtol=1e-4, atol=2e-5)
        assert_close(in_jax, state, rtol=1e-4, atol=2e-5)
        params = gm.apply_updates(params, updates)
        for opt in opts:
            opt.step(grads, hvp_fn=hvp)
            assert bits(opt.params) == bits(params)
            assert bits(opt.state) == bits(state)


def test_moments_of_another_dtype() -> None:
    tx, theirs = (m.contrib.sophia(0.1, mu_dtype=np.float32) for m in (gm, optax))
    with jax.enable_x64(True):
        params = random_tree(0, np.float64)
        same_kind(tx.init(params), theirs.init(to_jax(params)))


def test_a_step_without_a_function_leaves_no_trace() -> None:
    opt = gm.Optimizer(gm.contrib.sophia(0.1), random_tree(0))
    before = bits((opt.params, opt.state))
    with pytest.raises(ValueError, match="needs the Hessian times a vector"):
        opt.step(random_tree(1))
    assert bits((opt.params, opt.state)) == before


def test_epsilons_of_zero() -> None:
    tx = gm.contrib.sophia(0.1, eps=0.0, weight_decay=0.0)
    zeros = np.zeros(3, np.float32)
    updates, _ = tx.update(zeros, tx.init(zeros), zeros, hvp_fn=lambda params, vector: 0 * vector)
    np.testing.assert_array_equal(updates, 0)


sophia: Any = gm.contrib.sophia  # without its types, for arguments that break them


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sophia(0.1, update_interval=0), "update_interval must be at least 1"),
        (lambda: sophia(0.1, update_interval=2.5), "update_interval must be an integer"),
        (lambda: sophia(0.1, verbose=True), "prints nothing"),
        (lambda: sophia(0.1, hessian_diagonal_fn=3), "must be a transformation"),
    ],
)
def test_what_it_does_not_take(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()
