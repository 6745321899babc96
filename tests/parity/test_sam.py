"""Rounds of sharpness-aware minimization against optax's, in both modes."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill.jax import to_optax
from tests.on_jax import to_jax
from tests.parity.test_optax import same_kind
from tests.trees import assert_close, bits, copy_tree, random_tree

ROWS: dict[str, Any] = {
    "opaque": lambda m: m.contrib.sam(
        m.adam(0.1), m.chain(m.contrib.normalize(), m.sgd(0.05)), opaque_mode=True
    ),
    "opaque_args": lambda m: m.contrib.sam(
        m.sgd(0.1, momentum=0.9), m.adam(0.05), 3, reset_state=False, opaque_mode=True
    ),
    "opaque_alone": lambda m: m.contrib.sam(m.adam(0.1), m.sgd(0.05), 1, opaque_mode=True),
}
TOLERANCE = {
    np.float32: {"rtol": 1e-4, "atol": 2e-6},
    np.float64: {"rtol": 1e-9, "atol": 1e-12},
}

sam: Any = gm.contrib.sam  # without its types, for arguments that break them

each_row = pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)


def gradients(params: Any, step: int) -> Any:
    """Those of a bowl, steeper in later steps."""
    return jax.tree.map(lambda p: (2.0 + step) * (p - 0.5), params)


@each_row
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
def test_ten_steps(make: Any, dtype: Any) -> None:
    with jax.enable_x64(dtype == np.float64):
        ours, theirs = make(gm), make(optax)
        params = random_tree(0, dtype)
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        for _ in range(10):
            same_kind(state, their_state)
            grads = gradients(params, 0)
            updates, state = ours.update(grads, state, params, grad_fn=gradients)
            expected, their_state = theirs.update(
                to_jax(grads), their_state, to_jax(params), grad_fn=gradients
            )
            assert_close(updates, expected, **TOLERANCE[dtype])
            assert_close(state, their_state, **TOLERANCE[dtype])
            params = gm.apply_updates(params, jax.tree.map(np.asarray, expected))


@each_row
def test_all_ways_give_the_same(make: Any) -> None:
    tx, params = make(gm), random_tree(0)
    loaded = pickle.loads(pickle.dumps(tx))
    assert repr(loaded) == repr(tx)
    opts = [gm.Optimizer(each, copy_tree(params)) for each in (tx, gm.chain(loaded))]
    lowered = to_optax(tx)
    state, in_jax = tx.init(params), lowered.init(to_jax(params))
    update = jax.jit(lambda *args: lowered.update(*args, grad_fn=gradients))
    for _ in range(3):
        grads = gradients(params, 0)
        updates, state = tx.update(grads, state, params, grad_fn=gradients)
        made, in_jax = update(to_jax(grads), in_jax, to_jax(params))
        assert_close(made, updates, rtol=1e-4, atol=2e-6)
        params = gm.apply_updates(params, updates)
        for opt in opts:
            opt.step(grads, grad_fn=gradients)
            assert bits(opt.params) == bits(params)
            assert bits(opt.state) == bits(state)


def test_a_function_that_fails_leaves_no_trace() -> None:
    opt = gm.Optimizer(ROWS["opaque"](gm), random_tree(0))
    before = bits((opt.params, opt.state))

    def fails(params: Any, step: int) -> Any:
        raise RuntimeError("no gradients")

    with pytest.raises(RuntimeError, match="no gradients"):
        opt.step(random_tree(1), grad_fn=fails)
    with pytest.raises(ValueError, match="needs a function"):
        opt.step(random_tree(1))
    assert bits((opt.params, opt.state)) == before


def test_rounds_of_one_step() -> None:
    """Those are the optimizer's own; optax begins each where the last but one began."""
    params = np.ones(1, np.float32)
    ours, theirs = (m.contrib.sam(m.sgd(0.1), m.sgd(0.5), 1) for m in (gm, optax))
    state, their_state = ours.init(params), theirs.init(to_jax(params))
    their_params = params
    for _ in range(2):
        updates, state = ours.update(params, state, params)
        params = params + updates
        moves, their_state = theirs.update(to_jax(their_params), their_state, to_jax(their_params))
        their_params = their_params + np.asarray(moves)
    np.testing.assert_allclose(params, 0.81, rtol=1e-6)
    np.testing.assert_allclose(their_params, 0.91, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sam(gm.sgd(0.1), 3), "sam takes two transformations"),
        (lambda: sam(gm.sgd(0.1), gm.sgd(0.1), 1.5), "sync_period must be an integer"),
        (lambda: sam(gm.sgd(0.1), gm.sgd(0.1), 0), "sync_period must be at least 1"),
        (
            lambda: sam(gm.sgd(0.1), gm.sgd(0.1), batch_axis_name="batch"),
            "takes no batch_axis_name",
        ),
    ],
)
def test_what_it_does_not_take(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()
