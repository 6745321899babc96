"""Private averages of the gradients of examples against optax's."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill.errors import LeafValueError
from gradmill.jax import from_optax_state, to_optax, to_optax_state
from tests.on_jax import to_jax, words_of_keys
from tests.parity.test_optax import same_kind
from tests.trees import assert_close, bits, copy_tree, random_tree

# Of optax, whose alias hands its key on as a seed.
pytestmark = pytest.mark.filterwarnings("ignore:.seed. is deprecated")

BATCH = 6
ROWS: dict[str, Any] = {
    "aggregate": lambda m: m.contrib.differentially_private_aggregate(2.0, 0.5, 3),
    "without_noise": lambda m: m.contrib.differentially_private_aggregate(5.0, 0.0, 1),
    "dpsgd": lambda m: m.contrib.dpsgd(0.1, 3.0, 0.2, 7),
    "momentum": lambda m: m.contrib.dpsgd(0.1, 3.0, 0.2, 7, 0.9, True),
}
TOLERANCE = {
    np.float32: {"rtol": 1e-5, "atol": 1e-6},
    np.float64: {"rtol": 1e-10, "atol": 1e-12},
}

each_row = pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)


def batch(seed: int, dtype: Any = np.float32) -> Any:
    """Gradients of examples, which lie on both sides of the bounds."""
    trees = [random_tree(seed * BATCH + at, dtype, scale=0.1 * at) for at in range(BATCH)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


@each_row
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
def test_ten_steps(make: Any, dtype: Any) -> None:
    with jax.enable_x64(dtype == np.float64):
        ours, theirs = make(gm), make(optax)
        params = random_tree(0, dtype)
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        for seed in range(10):
            same_kind(state, words_of_keys(their_state))
            grads = batch(seed, dtype)
            updates, state = ours.update(grads, state, params)
            expected, their_state = theirs.update(to_jax(grads), their_state, to_jax(params))
            assert_close(updates, expected, **TOLERANCE[dtype])
            assert_close(state, words_of_keys(their_state), **TOLERANCE[dtype])


@each_row
def test_all_ways_give_the_same(make: Any) -> None:
    tx, params = make(gm), random_tree(0)
    loaded = pickle.loads(pickle.dumps(tx))
    assert repr(loaded) == repr(tx)
    opt, again = gm.Optimizer(tx, copy_tree(params)), gm.Optimizer(loaded, copy_tree(params))
    lowered = to_optax(tx)
    state, in_jax = tx.init(params), lowered.init(to_jax(params))
    assert bits(from_optax_state(in_jax)) == bits(state)
    assert type(to_optax_state(state)) is type(in_jax)
    update = jax.jit(lowered.update)
    for seed in range(3):
        grads = batch(seed)
        updates, state = tx.update(grads, state, params)
        made, in_jax = update(to_jax(grads), in_jax, to_jax(params))
        assert_close(made, updates, rtol=1e-5, atol=1e-6)
        assert_close(words_of_keys(in_jax), state, rtol=1e-5, atol=1e-6)
        params = gm.apply_updates(params, updates)
        for each in (opt, again):
            each.step(grads)
            assert bits((each.params, each.state)) == bits((params, state))


def test_a_partition_and_a_mask() -> None:
    """A part alone gets the numbers that it gets in a tree of its own."""
    tx, whole, grads = ROWS["dpsgd"](gm), random_tree(0), batch(1)
    names = ("kernel", "bias")
    alone, _ = tx.update({name: grads[name] for name in names}, tx.init(None))
    labels = {key: "own" if key in names else "other" for key in whole}
    around = gm.partition({"own": tx, "other": gm.set_to_zero()}, labels)
    mixed = {key: grads[key] if key in names else whole[key] for key in whole}
    updates, _ = around.update(mixed, around.init(whole))
    assert bits({name: updates[name] for name in names}) == bits(alone)


def test_numbers_of_examples() -> None:
    tx = gm.contrib.differentially_private_aggregate(1.0, 1.0)
    with pytest.raises(LeafValueError):
        tx.update({"a": np.ones((3, 2)), "b": np.ones((4, 2))}, tx.init(None))
    with pytest.raises(LeafValueError):
        tx.update({"a": np.ones(())}, tx.init(None))
    updates, _ = tx.update({"a": np.ones((0, 2))}, tx.init(None))
    assert np.isfinite(updates["a"]).all()
    assert tx.update({}, tx.init(None))[0] == {}
    with pytest.raises(ValueError, match="takes either key or seed"):
        gm.contrib.dpsgd(0.1, 1.0, 1.0, 3, seed=4)
