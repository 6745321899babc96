"""Polyak's step size, which needs the value of the loss, against optax's."""

from __future__ import annotations

import copy
import math
import pickle
from functools import cache
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill._data.trees import tree_map
from gradmill.jax import to_optax
from tests.on_jax import to_jax, to_numpy
from tests.trees import assert_close, bits, copy_tree, random_tree, special_tree

if TYPE_CHECKING:
    from collections.abc import Callable

MAKERS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda m: m.scale_by_polyak(),
    "all": lambda m: m.scale_by_polyak(0.5, 10.0, 0.1, "sps+"),
    "chain": lambda m: m.chain(
        m.clip(0.5), m.scale_by_polyak(max_learning_rate=0.02), m.trace(0.9)
    ),
    "polyak_sgd": lambda m: m.polyak_sgd(),
    "polyak_sgd_all": lambda m: m.polyak_sgd(
        5.0, m.cosine_decay_schedule(1.0, 8), 0.5, 0.1, variant="sps+"
    ),
}
TOLERANCE = {np.float32: {"rtol": 3e-5, "atol": 1e-7}, np.float64: {"rtol": 1e-11, "atol": 1e-13}}
VALUES = (3.0, 100.0, 0.2, -5.0, 0.0, 1e4, 1.0, 0.5, 2.0, math.nan)

each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@cache
def programs(make: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """optax's transformation, its compiled update, and that of the lowering."""
    theirs = make(optax)
    return theirs, jax.jit(theirs.update), jax.jit(to_optax(make(gm)).update)


@each_maker
@pytest.mark.parametrize("grads_of", [random_tree, special_tree])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
def test_ten_steps(make: Any, dtype: Any, grads_of: Any) -> None:
    """Updates and states, functional and in place; the same by the lowering."""
    with jax.enable_x64(dtype == np.float64):
        ours, params = make(gm), random_tree(0, dtype)
        theirs, their_step, step = programs(make, dtype)
        lowered = to_optax(ours)
        opt = gm.Optimizer(ours, copy_tree(params))
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        traced = lowered.init(to_jax(params))
        moved = params
        for seed, value in enumerate(VALUES, 1):
            grads = grads_of(seed, dtype)
            on_jax = to_jax(grads)
            expected, their_state = their_step(on_jax, their_state, to_jax(params), value=value)
            by_jax, traced = step(on_jax, traced, to_jax(params), value=value)
            updates, state = ours.update(grads, state, params, value=value)
            opt.step(grads, value=value)
            moved = gm.apply_updates(moved, updates)
            assert bits((opt.params, opt.state)) == bits((moved, state))
            for made, after in ((updates, state), (to_numpy(by_jax), traced)):
                assert_close(made, expected, **TOLERANCE[dtype])
                assert_close(after, their_state, **TOLERANCE[dtype])
            assert jax.tree.structure(traced) == jax.tree.structure(their_state)


@each_maker
def test_code_and_copies_make_the_same(make: Any) -> None:
    tx, params, grads = make(gm), random_tree(0), random_tree(1)
    again = eval(repr(tx), {"gm": gm})  # noqa: S307  (our own)
    expected = bits(tx.update(grads, tx.init(params), value=2.0))
    for copied in (again, pickle.loads(pickle.dumps(tx)), copy.deepcopy(tx)):
        assert repr(copied) == repr(tx)
        assert bits(copied.update(grads, copied.init(params), value=2.0)) == expected


def test_a_part_alone() -> None:
    """Behind masks the norm is that of what they leave; in a partition each part has its own."""
    tx, whole, grads = gm.polyak_sgd(), random_tree(0), random_tree(1)
    mask = {key: key in ("kernel", "none") for key in whole}
    alone, _ = tx.update(grads["kernel"], tx.init(whole["kernel"]), value=0.3)
    labels = {key: "own" if take else "other" for key, take in mask.items()}
    for around in (
        gm.masked(tx, mask),
        gm.partition({"own": tx, "other": gm.polyak_sgd(0.1)}, labels),
        gm.conditionally_transform(gm.masked(tx, mask), lambda _: True),
    ):
        updates, _ = around.update(grads, around.init(whole), whole, value=0.3)
        assert bits(updates["kernel"]) == bits(alone)


@pytest.mark.parametrize("library", [gm, optax])
def test_small_gradients_have_no_step(library: Any) -> None:
    tx = library.scale_by_polyak(max_learning_rate=1e9)
    for size, is_zero in ((1e-8, True), (2e-8, False)):
        grads = np.full(1, size, np.float32)
        updates, _ = tx.update(grads, tx.init(grads), value=1.0)
        assert (updates[0] == 0) == is_zero


def test_half_precision_is_for_storage() -> None:
    """A squared norm beyond the range of float16."""
    grads = tree_map(lambda leaf: leaf.astype(np.float16), random_tree(1, scale=100.0))
    wide = tree_map(lambda leaf: leaf.astype(np.float32), grads)
    tx = gm.scale_by_polyak()
    updates, expected = (tx.update(tree, tx.init(tree), value=9.0)[0] for tree in (grads, wide))
    assert_close(tree_map(lambda leaf: leaf.astype(np.float32), updates), expected, rtol=1e-6)


@pytest.mark.parametrize("extra", [{}, {"value": None}, {"value": "1"}, {"value": np.ones(2)}])
def test_the_loss_is_a_number(extra: Any) -> None:
    opt = gm.Optimizer(gm.polyak_sgd(), np.ones(2))
    with pytest.raises(TypeError, match=r"call update\(..., value=loss\)"):
        opt.step(np.ones(2), **extra)
    assert bits(opt.params) == bits(np.ones(2))


def test_there_are_two_variants() -> None:
    with pytest.raises(ValueError, match="variant must be one of sps, sps"):
        gm.scale_by_polyak(variant="other")  # type: ignore[arg-type]
