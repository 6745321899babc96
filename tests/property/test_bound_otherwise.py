"""Optimizers that go uphill, whose arrays change, or among whose leaves are some of no floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import tree_map
from tests.cases import CASES
from tests.trees import bits, copy_tree, random_tree

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def taken(opt: Any, *, sign: float = 1.0, more: Any = (), moves: bool = False) -> Any:
    """Three steps, with ``more`` gradients, or each in other arrays."""
    for seed in range(1, 4):
        grads = tree_map(lambda leaf: leaf * sign, random_tree(seed)) | dict(more)
        opt.step(grads, **({"params": copy_tree(opt.params)} if moves else {}))
    return opt


@each_case
def test_uphill_is_downhill_of_the_negation(case: Any) -> None:
    down = taken(gm.Optimizer(case.make(gm), random_tree(0)), sign=-1.0)
    up = taken(gm.Optimizer(case.make(gm), random_tree(0), maximize=True))
    assert bits((up.params, up.state)) == bits((down.params, down.state))


@each_case
def test_other_arrays_with_the_same_values_are_the_same_parameters(case: Any) -> None:
    stays = taken(gm.Optimizer(case.make(gm), random_tree(0)))
    moves = taken(gm.Optimizer(case.make(gm), random_tree(0)), moves=True)
    assert bits((moves.params, moves.state)) == bits((stays.params, stays.state))


@each_case
def test_a_leaf_that_is_kept_is_none_to_the_chain(case: Any) -> None:
    without = taken(gm.Optimizer(case.make(gm), random_tree(0)))
    params = random_tree(0)
    (name,) = [name for name, leaf in params.items() if leaf is None]
    params[name] = np.array(7)
    opt = gm.Optimizer(case.make(gm), params, others="keep")
    kept = taken(opt, more={name: np.array(3)})
    assert params.pop(name) == 7
    assert bits((params | {name: None}, kept.state)) == bits((without.params, without.state))
