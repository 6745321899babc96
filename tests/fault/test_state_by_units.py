"""State that has a number for each unit of a leaf, and not one for each element."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmill as gm
from tests.trees import bits, copy_tree

TX = gm.novograd(0.1)


def problem() -> tuple[Any, Any]:
    params = {"b": np.ones(3, np.float32), "w": np.full((2, 2), 0.5, np.float32)}
    return params, {"b": np.full(3, 2.0, np.float32), "w": np.ones((2, 2), np.float32)}


def test_a_wrong_size_is_named_and_nothing_is_written() -> None:
    params, grads = problem()
    state = TX.init(params)
    nu = {**state[0].nu, "w": np.ones(3, np.float32)}
    state = (state[0]._replace(nu=nu), *state[1:])
    before = copy_tree((params, grads, state))
    with pytest.raises(gm.errors.LeafValueError, match=r"state\[0\]\.nu\['w'\]: size 3.* 1 "):
        TX.update(grads, state, params)
    assert bits((params, grads, state)) == bits(before)


def test_a_closed_gate_keeps_it() -> None:
    params, grads = problem()
    tx = gm.apply_if_finite(TX, 3)
    opt = gm.Optimizer(tx, copy_tree(params))
    opt.step(grads)
    _, state = tx.update(grads, tx.init(params), params)
    before = copy_tree(state.inner_state)
    bad = {**grads, "b": np.full(3, np.nan, np.float32)}
    opt.step(bad)
    _, state = tx.update(bad, state, params)
    assert bits(state.inner_state) == bits(opt.state.inner_state) == bits(before)


def test_a_mask_keeps_it() -> None:
    params, grads = problem()
    tx = gm.masked(TX, {"b": True, "w": False})
    updates, state = tx.update(grads, tx.init(params), params)
    assert state.inner_state[0].nu["b"] == 12.0
    assert bits(updates["w"]) == bits(grads["w"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_never_subnormal(dtype: Any) -> None:
    tiny = np.finfo(dtype).tiny
    params = np.ones(2, dtype)
    state = gm.scale_by_novograd(b2=0.5).init(params)
    state = state._replace(count=np.asarray(1, np.int32), nu=np.asarray(tiny, dtype))
    _, state = gm.scale_by_novograd(b2=0.5).update(np.zeros(2, dtype), state, params)
    assert state.nu == 0


FACTORED = gm.scale_by_factored_rms(min_dim_size_to_factor=2)


def factored_problem() -> tuple[Any, Any]:
    params, grads = problem()
    return params, {**grads, "w": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)}


@pytest.mark.parametrize(("field", "leaf"), [("v_row", "w"), ("v_col", "w"), ("v", "b")])
def test_a_wrong_size_of_factors_is_named(field: str, leaf: str) -> None:
    params, grads = factored_problem()
    state = FACTORED.init(params)
    state = state._replace(**{field: {**getattr(state, field), leaf: np.ones(5, np.float32)}})
    before = copy_tree((params, grads, state))
    with pytest.raises(gm.errors.LeafValueError, match=rf"\['{leaf}'\]"):
        FACTORED.update(grads, state, params)
    assert bits((params, grads, state)) == bits(before)


def test_what_stands_for_state_that_a_leaf_does_not_have_is_copied() -> None:
    params, grads = factored_problem()
    state = FACTORED.init(params)
    state = state._replace(v={**state.v, "w": np.full(1, 7.0, np.float32)})
    _, new = FACTORED.update(grads, state, params)
    for field, leaf in [("v", "w"), ("v_row", "b"), ("v_col", "b")]:
        was, now = getattr(state, field)[leaf], getattr(new, field)[leaf]
        assert bits(now) == bits(was)
        assert not np.may_share_memory(now, was)


def test_factors_under_masks_and_behind_gates() -> None:
    params, grads = factored_problem()
    for mask in ({"b": True, "w": False}, {"b": False, "w": True}):
        tx = gm.masked(FACTORED, mask)
        updates, _ = tx.update(grads, tx.init(params), params)
        alone, _ = FACTORED.update(grads, FACTORED.init(params), params)
        assert all(bits(updates[k]) == bits((alone if mask[k] else grads)[k]) for k in mask)
    tx = gm.apply_if_finite(FACTORED, 3)
    opt = gm.Optimizer(tx, copy_tree(params))
    opt.step(grads)
    before = copy_tree(opt.state.inner_state)
    opt.step({**grads, "w": np.full((2, 2), np.inf, np.float32)})
    assert bits(opt.state.inner_state) == bits(before)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 2)])
def test_factors_of_no_elements_stay(shape: tuple[int, ...]) -> None:
    tx = gm.scale_by_factored_rms(min_dim_size_to_factor=0)
    params = np.zeros(shape, np.float32)
    state = tx.init(params)
    state = state._replace(v_row=state.v_row + 1, v_col=state.v_col + 1)
    updates, new = tx.update(params, state, params)
    assert updates.shape == shape
    assert bits((new.v_row, new.v_col, new.v)) == bits((state.v_row, state.v_col, state.v))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_factors_stay_in_range(dtype: Any) -> None:
    tiny = float(np.finfo(dtype).tiny)
    tx = gm.scale_by_factored_rms(min_dim_size_to_factor=2, epsilon=0.0)
    grads = np.array([[tiny, 0.0], [0.0, 0.0]], dtype)
    updates, state = tx.update(grads, tx.init(grads), grads)
    assert np.isfinite(updates).all()
    assert (updates[1:] == 0).all()
    assert np.isfinite(state.v_row).all()
