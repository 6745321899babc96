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
