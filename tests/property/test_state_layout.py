"""State is in C order, whatever the layout of parameters, gradients and older state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import flatten, tree_map
from tests.cases import CASES
from tests.property.strategies import relayout
from tests.trees import bits, random_tree

if TYPE_CHECKING:
    from tests.cases import Case

LAYOUTS = ["F", "reversed", "strided", "transposed"]


def laid_out(tree: Any, how: str) -> Any:
    def leaf(array: Any) -> Any:
        if not isinstance(array, np.ndarray):
            return array
        if how == "transposed":
            return np.array(array.T, order="C").T
        return relayout(array, how)

    return tree_map(leaf, tree)


def assert_in_c_order(state: Any) -> None:
    arrays = [leaf for leaf in flatten(state)[0] if isinstance(leaf, np.ndarray)]
    assert all(array.flags.c_contiguous for array in arrays)


@pytest.mark.parametrize("how", LAYOUTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_state_is_in_c_order(case: Case, how: str) -> None:
    tx = case.make(gm)
    plain = random_tree(0)
    params, twin = laid_out(plain, how), gm.Optimizer(tx, random_tree(0))
    opt = gm.Optimizer(tx, laid_out(plain, how))
    state = tx.init(params)
    assert_in_c_order(state)
    assert_in_c_order(opt.state)
    for step in range(1, 4):
        grads = random_tree(step)
        _, state = tx.update(laid_out(grads, how), laid_out(state, how), params)
        opt.step(laid_out(grads, how))
        twin.step(grads)
        assert_in_c_order(state)
        assert_in_c_order(opt.state)
        assert bits(opt.state) == bits(twin.state)
        assert bits(opt.params) == bits(twin.params)
