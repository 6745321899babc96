"""What looks at updates, against optax's; the state of a monitor changes its structure."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill._data.trees import tree_map
from gradmill.jax import to_optax
from tests.on_jax import to_jax
from tests.parity.test_optax import same_kind
from tests.trees import assert_close, bits, copy_tree, random_tree, special_tree

TOLERANCE = {np.float32: {"rtol": 3e-5, "atol": 1e-6}, np.float64: {"rtol": 1e-6, "atol": 1e-12}}


def parts(updates: Any) -> Any:
    return {"kernel": updates["kernel"], "count": 2}


def make(m: Any) -> Any:
    measures = {
        "sum": m.tree.sum,
        "average": m.measure_with_ema(m.tree.norm, 0.9),
        "biased": m.measure_with_ema(m.tree.norm, 0.8, False, np.float32),
        "parts": m.measure_with_ema(parts, 0.5),
        "scaled": m.chain(m.scale(2.0), m.trace(0.9)),
    }
    return m.chain(m.clip(0.5), m.monitor(measures), m.scale(-0.1))


@pytest.mark.parametrize("grads_of", [random_tree, special_tree])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
def test_ten_steps(dtype: Any, grads_of: Any) -> None:
    """Updates and states, functional and in place; the same by the lowering."""
    with jax.enable_x64(dtype == np.float64):
        ours, theirs, params = make(gm), make(optax), random_tree(0, dtype)
        lowered = to_optax(ours)
        opt, moved, step = gm.Optimizer(ours, copy_tree(params)), params, jax.jit(lowered.update)
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        traced = lowered.init(to_jax(params))
        for seed in range(1, 11):
            grads = grads_of(seed, dtype)
            expected, their_state = theirs.update(to_jax(grads), their_state, to_jax(params))
            by_jax, traced = step(to_jax(grads), traced, to_jax(params))
            updates, state = ours.update(grads, state, params)
            opt.step(grads)
            moved = gm.apply_updates(moved, updates)
            assert bits((opt.params, opt.state)) == bits((moved, state))
            for made in ((updates, state), (by_jax, traced)):
                assert_close(made, (expected, their_state), **TOLERANCE[dtype])
            assert jax.tree.structure(traced) == jax.tree.structure(their_state)
            same_kind(state[1].measurements["sum"], their_state[1].measurements["sum"])
            same_kind(state[1].measure_states[:3], their_state[1].measure_states[:3])


def test_code_and_copies_make_the_same() -> None:
    tx, params, grads = make(gm), random_tree(0), random_tree(1)
    again = eval(repr(tx), {"gm": gm, "np": np, "parts": parts})  # noqa: S307  (our own)
    expected = bits(tx.update(grads, tx.init(params)))
    for copied in (again, pickle.loads(pickle.dumps(tx)), copy.deepcopy(tx)):
        assert repr(copied) == repr(tx)
        assert bits(copied.update(grads, copied.init(params))) == expected


@pytest.mark.parametrize("of", [lambda f: gm.snapshot("all", f), lambda f: gm.monitor({"all": f})])
def test_nothing_is_shared(of: Any) -> None:
    """Whoever writes into updates, gradients or measurements changes nothing of the others."""
    tx, grads = of(lambda updates: updates), random_tree(1)
    before = bits(grads)
    updates, state = tx.update(grads, tx.init(random_tree(0)))
    for leaf in updates.values():
        if leaf is not None:
            leaf[...] = 7
    assert bits(grads) == before
    assert bits(state) == before


def test_extra_arguments_reach_measures() -> None:
    tx = gm.monitor({"rate": gm.scale_by_polyak(max_learning_rate=1e9)})
    grads = np.array([3.0, 4.0])
    opt = gm.Optimizer(gm.chain(tx, gm.sgd(1.0)), np.zeros(2))
    opt.step(grads, value=25.0)
    np.testing.assert_allclose(gm.tree.get(opt.state, "rate"), grads)


@pytest.mark.parametrize("tx", [gm.snapshot("n", gm.tree.size), gm.monitor({"n": gm.tree.size})])
def test_masks_hide_leaves(tx: Any) -> None:
    params = random_tree(0)
    masked = gm.masked(tx, {key: key == "bias" for key in params})
    updates, state = masked.update(params, masked.init(params), params)
    assert gm.tree.get(state, "n") == 5
    assert bits(updates) == bits(params)


def test_half_precision_is_for_storage() -> None:
    """An average of float16 has float32 digits."""
    grads = tree_map(lambda leaf: leaf.astype(np.float16), random_tree(1))
    measure = gm.measure_with_ema(lambda updates: updates["bias"], 0.99)
    state = measure.init(grads)
    assert state[1].ema.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gm.snapshot("n", 3), "snapshot takes a function"),  # type: ignore[arg-type]
        (lambda: gm.measure_with_ema(3, 0.9), "takes a function"),  # type: ignore[arg-type]
        (lambda: gm.monitor({"n": 3}), "functions and transformations, got 3 for 'n'"),  # type: ignore[dict-item]
        (lambda: gm.measure_with_ema(gm.tree.norm, 2.0), "decay must be less than 1"),
        (lambda: gm.measure_with_ema(gm.tree.norm, 0.9, True, np.int32), "accumulator_dtype must"),
    ],
)
def test_arguments(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
