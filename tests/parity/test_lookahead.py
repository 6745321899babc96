"""lookahead has parameters of its own, so it stands in no row of the table."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill.jax import from_optax_state, to_optax, to_optax_state
from tests.on_jax import to_jax
from tests.trees import bits, copy_tree, random_tree

JIT: Any = jax.jit

MAKERS = [
    lambda m: m.lookahead(m.adam(0.1), 3, 0.5),
    lambda m: m.lookahead(m.sgd(0.1, momentum=0.9), 2, 0.8, reset_state=True),
    lambda m: m.lookahead(m.adamw(m.linear_schedule(0.1, 0.2, 5)), 1, 1.5),
    lambda m: m.chain(m.clip_by_global_norm(1.0), m.lookahead(m.adam(0.1), 4, 0.5)),
]


def leaves_of(tree: Any) -> list[Any]:
    return list(jax.tree.leaves(tree))


def compare(ours: Any, theirs: Any, dtype: Any) -> None:
    tolerance = 2e-5 if dtype is np.float32 else 1e-6
    assert jax.tree.structure(to_optax_state(ours)) == jax.tree.structure(theirs)
    for mine, other in zip(leaves_of(ours), leaves_of(theirs), strict=True):
        assert np.asarray(mine).dtype == other.dtype
        np.testing.assert_allclose(mine, other, tolerance, tolerance)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_optax(make: Any, dtype: Any) -> None:
    with jax.enable_x64(dtype is np.float64):
        tx, other = make(gm), make(optax)
        params = gm.LookaheadParams.init_synced(random_tree(0, dtype))
        theirs = optax.LookaheadParams.init_synced(to_jax(random_tree(0, dtype)))
        state, other_state = tx.init(params), other.init(theirs)
        opt = gm.Optimizer(tx, copy_tree(params))
        update = JIT(other.update)
        compare(state, other_state, dtype)
        for seed in range(1, 11):
            grads = random_tree(seed, dtype)
            kept = copy_tree((grads, state, params))
            updates, new = tx.update(grads, state, params)
            assert bits((grads, state, params)) == bits(kept)
            assert isinstance(updates, gm.LookaheadParams)
            state, params = new, gm.apply_updates(params, updates)
            wanted, other_state = update(to_jax(grads), other_state, theirs)
            theirs = optax.apply_updates(theirs, wanted)
            compare(updates, wanted, dtype)
            compare(state, other_state, dtype)
            opt.step(grads)
            assert bits(opt.params) == bits(params)
            assert bits(opt.state) == bits(state)


@pytest.mark.parametrize("make", [MAKERS[1], MAKERS[3]])
def test_programs_of_jax(make: Any) -> None:
    tx, other = to_optax(make(gm)), make(optax)
    params = optax.LookaheadParams.init_synced(to_jax(random_tree(0)))
    state, theirs = tx.init(params), other.init(params)
    assert jax.tree.structure(state) == jax.tree.structure(theirs)
    ours, others = JIT(tx.update), JIT(other.update)
    for seed in range(1, 5):
        grads = to_jax(random_tree(seed))
        mine, state = ours(grads, state, params)
        wanted, theirs = others(grads, theirs, params)
        compare(mine, wanted, np.float32)
        compare(state, theirs, np.float32)
        params = optax.apply_updates(params, mine)
    assert bits(from_optax_state(theirs)[0]) == bits(theirs[0])


def test_fast_and_slow_parameters_meet() -> None:
    params = gm.LookaheadParams.init_synced({"w": np.array([1.0, 2.0]), "none": None})
    assert not np.shares_memory(params.fast["w"], params.slow["w"])
    opt = gm.Optimizer(gm.lookahead(gm.sgd(0.1), 3, 0.5), params)
    for step in range(1, 7):
        opt.step({"w": np.ones(2), "none": None})
        same = np.allclose(params.fast["w"], params.slow["w"])
        assert same == (step % 3 == 0)
    np.testing.assert_allclose(params.slow["w"], [0.7, 1.7])


def test_updates_of_both_kinds_and_of_leaves_without_gradients() -> None:
    tx = gm.lookahead(gm.scale(-1.0), 1, 0.5)
    params = gm.LookaheadParams.init_synced([np.zeros(2), np.zeros(1)])
    grads = [np.ones(2), np.ones(1)]
    alone, _ = tx.update(grads, tx.init(params), params)
    both, _ = tx.update(gm.LookaheadParams(grads, grads), tx.init(params), params)
    assert bits(alone) == bits(both)
    some, _ = tx.update([np.ones(2), None], tx.init(params), params)
    assert some.fast[1] is None
    assert some.slow[1] is None


def test_extra_arguments_reach_the_optimizer_inside() -> None:
    by_loss = gm.GradientTransformationExtraArgs(
        lambda params: gm.EmptyState(),
        lambda updates, state, params=None, *, loss, **_: (gm.tree.scale(loss, updates), state),
    )
    tx = gm.lookahead(by_loss, 5, 0.5)
    params = gm.LookaheadParams.init_synced(np.zeros(1))
    updates, _ = tx.update(np.ones(1), tx.init(params), params, loss=3.0)
    assert updates.fast == 3.0


def test_a_copy_does_the_same() -> None:
    tx = gm.lookahead(gm.adam(0.1), sync_period=2, slow_step_size=0.5)
    assert repr(tx) == "gm.lookahead(gm.adam(0.1), sync_period=2, slow_step_size=0.5)"
    params = gm.LookaheadParams.init_synced(random_tree(0))
    copy = pickle.loads(pickle.dumps(tx))
    one = tx.update(random_tree(1), tx.init(params), params)
    assert bits(copy.update(random_tree(1), copy.init(params), params)) == bits(one)
    assert bits(tx.init(params.fast)) == bits(tx.init(params))


def test_what_is_wrong() -> None:
    for period, problem in ((0, "at least 1"), (2.5, "an integer"), (True, "an integer")):
        with pytest.raises((TypeError, ValueError), match=f"sync_period must be {problem}"):
            gm.lookahead(gm.sgd(0.1), period, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="slow_step_size"):
        gm.lookahead(gm.sgd(0.1), 2, float("nan"))
    with pytest.raises(TypeError, match=r"lookahead takes a transformation, got 0\.1"):
        gm.lookahead(0.1, 2, 0.5)  # type: ignore[arg-type]
    tx = gm.lookahead(gm.sgd(0.1), 2, 0.5)
    params = gm.LookaheadParams.init_synced({"w": np.ones(2)})
    with pytest.raises(TypeError, match=r"LookaheadParams\.init_synced"):
        tx.update({"w": np.ones(2)}, tx.init(params), {"w": np.ones(2)})
    with pytest.raises(ValueError, match="lookahead needs the current parameters"):
        tx.update({"w": np.ones(2)}, tx.init(params))
    with pytest.raises(gm.errors.LeafValueError, match=r"updates.fast\['w'\]: shape \(3,\)"):
        tx.update({"w": np.ones(3)}, tx.init(params), params)
    opt = gm.Optimizer(tx, params)
    kept = bits((params, opt.state))
    with pytest.raises(gm.errors.TreeError):
        opt.step({"v": np.ones(2)})
    assert bits((params, opt.state)) == kept
