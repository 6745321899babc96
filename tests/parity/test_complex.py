"""Transformations of real and imaginary parts against optax's."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill._data.trees import tree_map
from gradmill.errors import LeafTypeError
from gradmill.jax import to_optax
from tests.on_jax import to_jax
from tests.parity.test_optax import same_kind
from tests.trees import assert_close, bits, copy_tree, random_tree

ROWS: dict[str, Any] = {
    "adamw": lambda m: m.contrib.split_real_and_imaginary(m.adamw(0.1)),
    "clip": lambda m: m.chain(
        m.contrib.split_real_and_imaginary(m.chain(m.clip(0.5), m.trace(0.9))), m.identity()
    ),
}
TOLERANCE = {
    np.float32: {"rtol": 3e-5, "atol": 1e-6},
    np.float64: {"rtol": 1e-10, "atol": 1e-12},
}

each_row = pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)


def complex_tree(seed: int, dtype: Any = np.float32) -> Any:
    """Complex leaves of every rank, and a real one."""
    real, imaginary = random_tree(2 * seed, dtype), random_tree(2 * seed + 1, dtype)
    tree = jax.tree.map(lambda a, b: np.asarray(a + 1j * b, (a + 1j * b).dtype), real, imaginary)
    return {**tree, "bias": real["bias"]}


@each_row
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
def test_ten_steps(make: Any, dtype: Any) -> None:
    with jax.enable_x64(dtype == np.float64):
        ours, theirs = make(gm), make(optax)
        params = complex_tree(0, dtype)
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        for seed in range(1, 11):
            same_kind(state, their_state)
            grads = complex_tree(seed, dtype)
            updates, state = ours.update(grads, state, params)
            expected, their_state = theirs.update(to_jax(grads), their_state, to_jax(params))
            same_kind(updates, expected)
            assert_close(updates, expected, **TOLERANCE[dtype])
            assert_close(state, their_state, **TOLERANCE[dtype])
            summed = gm.tree.add(params, updates)
            params = gm.apply_updates(params, updates)
            assert bits(params) == bits(summed)


@each_row
def test_all_ways_give_the_same(make: Any) -> None:
    tx, params = make(gm), complex_tree(0)
    loaded = pickle.loads(pickle.dumps(tx))
    assert repr(loaded) == repr(tx)
    lowered = to_optax(tx)
    state, in_jax = tx.init(params), lowered.init(to_jax(params))
    update = jax.jit(lowered.update)
    for seed in range(1, 4):
        grads = complex_tree(seed)
        untouched = copy_tree((grads, state, params))
        updates, after = tx.update(grads, state, params)
        assert bits((grads, state, params)) == bits(untouched)
        assert bits(loaded.update(grads, state, params)) == bits((updates, after))
        state = after
        made, in_jax = update(to_jax(grads), in_jax, to_jax(params))
        assert_close(made, updates, rtol=3e-5, atol=1e-6)
        assert_close(in_jax, state, rtol=3e-5, atol=1e-6)


@each_row
def test_real_trees_are_as_they_were(make: Any) -> None:
    """In place as well, where parameters have to be real."""
    tx, params = make(gm), random_tree(0)
    opt, state = gm.Optimizer(tx, copy_tree(params)), tx.init(params)
    for seed in range(1, 4):
        grads = random_tree(seed)
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)
        opt.step(grads)
        assert bits((opt.params, opt.state)) == bits((params, state))


def test_infinities_stay_where_they_are() -> None:
    tx = gm.contrib.split_real_and_imaginary(gm.scale(2.0))
    grads = np.array([complex(1.0, np.inf), complex(-np.inf, 2.0)])
    updates, _ = tx.update(grads, tx.init(grads))
    np.testing.assert_array_equal(updates.real, [2.0, -np.inf])
    np.testing.assert_array_equal(updates.imag, [np.inf, 4.0])


def test_a_mask_and_a_leaf_without_a_gradient() -> None:
    tx = gm.contrib.split_real_and_imaginary(gm.adam(0.1))
    params = complex_tree(0)
    masked = gm.masked(tx, tree_map(lambda _: True, params) | {"kernel": False})
    grads = {**complex_tree(1), "conv": None}
    updates, _ = masked.update(grads, masked.init(params), params)
    alone, _ = tx.update(grads, tx.init(params), params)
    assert updates["conv"] is None
    np.testing.assert_array_equal(updates["kernel"], grads["kernel"])
    np.testing.assert_array_equal(updates["scalar"], alone["scalar"])


def test_what_it_does_not_take() -> None:
    split: Any = gm.contrib.split_real_and_imaginary
    with pytest.raises(TypeError, match="split_real_and_imaginary takes a transformation"):
        split(3)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_updates_of_any_layout(dtype: Any) -> None:
    values = np.asarray(complex_tree(0)["kernel"], dtype)
    other = np.asarray(complex_tree(1)["kernel"], dtype)
    scalar = np.asarray(2 + 1j, dtype)
    params: Any = {
        "t": values.T,
        "s": values[::2, ::-1],
        "n": scalar,
        "none": None,
        "real": np.ones(2),
    }
    updates: Any = {
        "t": other.T,
        "s": other[::2, ::-1],
        "n": -scalar,
        "none": None,
        "real": np.ones(2),
    }
    new = gm.apply_updates(params, updates)
    for key in ("t", "s", "n", "real"):
        assert new[key].dtype == params[key].dtype
        np.testing.assert_array_equal(new[key], params[key] + updates[key])
    tiny = np.array([-0.0 + 1e-310j], np.complex128)
    assert bits(gm.apply_updates(tiny, np.zeros(1, complex))) == bits(tiny)
    for one, two in (
        (values, other.real),
        (values.real, other),
        (values, other[:1]),
        (np.ma.masked_array(values, False), other),
    ):
        with pytest.raises(LeafTypeError, match=r"dtype complex|masked array"):
            gm.apply_updates(one, two)
