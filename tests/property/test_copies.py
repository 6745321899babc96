"""An optimizer that is copied or pickled goes on with the same bits, and apart from the first."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import flatten
from tests.cases import CASES
from tests.trees import bits, copy_tree, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "oldest pickle": lambda value: pickle.loads(pickle.dumps(value, 0)),
    "newest pickle": lambda value: pickle.loads(pickle.dumps(value, 5)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "master": {"master": True, "rounding": "stochastic", "seed": 7},
}


def steps(opt: Any, seeds: range, dtype: Any) -> list[Any]:
    seen: list[Any] = []
    for seed in seeds:
        report = opt.step(random_tree(seed, dtype))
        seen.append((report, gm.state_digest((opt.params, opt.master, opt.state))))
    return seen


def arrays(opt: Any) -> list[Any]:
    leaves = flatten((opt.params, opt.master, opt.state))[0]
    return [leaf for leaf in leaves if isinstance(leaf, np.ndarray)]


@pytest.mark.parametrize("setting", ["plain", pytest.param("master", marks=pytest.mark.full)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_copies_go_on_with_the_same_bits(case: Any, setting: str) -> None:
    dtype = np.float16 if setting == "master" else np.float32
    opt = gm.Optimizer(case.make(gm), random_tree(0, dtype), **SETTINGS[setting])
    steps(opt, range(1, 4), dtype)
    before = gm.state_digest((opt.params, opt.master, opt.state))
    for way in WAYS.values():
        other = way(opt)
        assert gm.state_digest((other.params, other.master, other.state)) == before
        assert not any(np.shares_memory(a, b) for a in arrays(opt) for b in arrays(other))
    expected = steps(copy.deepcopy(opt), range(4, 7), dtype)
    assert gm.state_digest((opt.params, opt.master, opt.state)) == before
    for way in WAYS.values():
        assert steps(way(opt), range(4, 7), dtype) == expected
    assert steps(opt, range(4, 7), dtype) == expected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_everything_pickles(case: Any, way: str) -> None:
    tx = case.make(gm)
    params = random_tree(0)
    state = tx.init(params)
    _, state = tx.update(random_tree(1), state, params)
    again, same = WAYS[way]((tx, state))
    assert bits(same) == bits(state)
    assert gm.state_digest(again) == gm.state_digest(tx)
    expected = tx.update(random_tree(2), state, params)
    assert bits(again.update(random_tree(2), same, params)) == bits(expected)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "copy"])
def test_what_is_shared_stays_shared(way: str) -> None:
    """Arrays that a pickle or a deep copy also holds elsewhere are the optimizer's there, too."""
    params = {"w": np.ones((2, 3), np.float16), "b": np.ones(3, np.float32)}
    opt = gm.Optimizer(gm.adam(0.1), params, master=True)
    grads = copy_tree(params)
    opt.step(grads)
    everything = {"params": params, "state": opt.state, "master": opt.master, "opt": opt}
    again = WAYS[way](everything)
    assert again["opt"].params is again["params"]
    again["opt"].step(grads)
    for name in ("state", "master"):
        assert bits(again[name]) == bits(getattr(again["opt"], name))
    assert again["opt"].params["b"] is again["opt"].master["b"]
    opt.step(grads)
    assert bits(again["params"]) == bits(params)
