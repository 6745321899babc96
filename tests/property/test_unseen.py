"""Leaves that no op looks at pass, and updates are always in memory of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

import gradmill as gm
from gradmill._data.trees import flatten, tree_map
from gradmill._plan.layout import links_of
from tests.cases import CASES
from tests.property.strategies import chains, problems
from tests.trees import bits, copy_tree, random_tree

ROWS = {case.name: case for case in CASES}
FLOAT0 = np.dtype([("float0", "V")])
PARAMS: dict[str, Any] = {
    "count": np.array(3, np.int64),
    "flag": np.array([True, False]),
    "key": np.array([1, 2], np.uint32),
    "ids": np.arange(4, dtype=np.int8),
    "nothing": None,
}
GRADS: dict[str, Any] = {
    "count": None,
    "flag": np.zeros(2, FLOAT0),
    "key": np.array([7, 8], np.uint32),
    "ids": np.array([0.0, np.nan, 1.0, 1.0]),
    "nothing": None,
}
ZERO_GRADS = {name: None if leaf is None else np.zeros_like(leaf) for name, leaf in GRADS.items()}


LABELS = dict.fromkeys(random_tree(0), "train") | dict.fromkeys(PARAMS, "freeze")
MASK = {name: label == "train" for name, label in LABELS.items()}


def beneath(tx: Any) -> list[tuple[Any, Any]]:
    """A transformation beneath masks that leave the others to nobody, or to ``set_to_zero``.

    With what becomes of the others' gradients.
    """
    frozen = {name: not take for name, take in MASK.items()}
    return [
        (gm.masked(tx, MASK), GRADS),
        (gm.masked(tx, lambda path, _: path not in PARAMS), GRADS),
        (gm.partition({"train": tx, "freeze": gm.set_to_zero()}, LABELS), ZERO_GRADS),
        (gm.selective_transform(tx, freeze_mask=frozen), ZERO_GRADS),
    ]


def has_trees_as_masks(tx: Any) -> bool:
    """Whether there are masks for the tree of the table alone."""
    masks = [mask for link in links_of(tx) for mask in link.masks]
    return not all(callable(mask) for mask in masks)


def picked(tree: Any, others: Any) -> dict[str, Any]:
    return {name: tree[name] for name in others}


@pytest.mark.parametrize("name", ROWS)
def test_leaves_of_any_kind_pass(name: str) -> None:
    tx, plain = ROWS[name].make(gm), random_tree(1)
    if has_trees_as_masks(tx):
        pytest.skip("this row has a mask for other trees")
    state, params = tx.init(plain), plain
    in_place = gm.Optimizer(tx, copy_tree(plain))
    runs = []
    for outer, expected in beneath(tx):
        given = {**plain, **PARAMS}
        mine = {**copy_tree(plain), **copy_tree(PARAMS)}
        runs.append([outer, expected, outer.init(given), given, gm.Optimizer(outer, mine)])
    for step in range(3):
        grads = random_tree(step + 2)
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)
        in_place.step(grads)
        for row in runs:
            outer, expected, own_state, own_params, opt = row
            own, own_state = outer.update({**grads, **GRADS}, own_state, own_params)
            assert bits(picked(own, plain)) == bits(updates)
            assert same(picked(own, PARAMS), expected)
            own_params = gm.apply_updates(own_params, {**own, **ZERO_GRADS})
            assert bits(picked(own_params, plain)) == bits(params)
            assert all(own_params[key] is leaf for key, leaf in PARAMS.items())
            opt.step({**grads, **GRADS})
            assert bits(picked(opt.params, plain)) == bits(in_place.params)
            assert same(picked(opt.params, PARAMS), PARAMS)
            row[2:4] = own_state, own_params


def same(tree: Any, other: Any) -> bool:
    """Whether trees have the same bytes, of whatever dtype."""
    return all(
        (a is b is None) or (a.dtype == b.dtype and a.shape == b.shape and bytes(a) == bytes(b))
        for a, b in zip(flatten(tree)[0], flatten(other)[0], strict=True)
    )


def hands_on(updates: Any, state: Any, params: Any = None) -> Any:
    return updates, state


def members(tx: Any) -> list[Any]:
    """Chains in which somebody may hand on what was given."""
    python = gm.GradientTransformation(lambda params: gm.EmptyState(), hands_on)
    views = gm.stateless(lambda updates, _: tree_map(lambda leaf: leaf[...], updates))
    of_params = gm.stateless(lambda updates, params: updates if params is None else params)
    return [
        tx,
        gm.chain(tx),
        gm.chain(tx, gm.identity()),
        gm.chain(tx, python),
        gm.chain(python, gm.masked(tx, lambda path, _: path == "bias"), views),
        gm.chain(tx, of_params),
        gm.masked(tx, lambda path, _: path == "bias"),
        gm.masked(gm.chain(tx, python), lambda path, _: path == "bias"),
        gm.conditionally_transform(gm.chain(python, tx), lambda step: step > 3),
    ]


@pytest.mark.parametrize("name", [*ROWS, "chain of nothing", "stateless"])
def test_updates_are_in_new_memory(name: str) -> None:
    others = {"chain of nothing": gm.chain(), "stateless": gm.stateless(lambda u, _: u)}
    row = others.get(name) or ROWS[name].make(gm)
    for tx in members(row):
        params, grads = random_tree(1), random_tree(2)
        state = tx.init(params)
        assert_new(tx.update(grads, state, params)[0], (params, grads, state))


@given(chains, problems())
def test_updates_of_chains_are_in_new_memory(tx: Any, problem: Any) -> None:
    params, (grads, *_) = problem
    state = tx.init(params)
    assert_new(tx.update(grads, state, params)[0], (params, grads, state))


def assert_new(updates: Any, given: Any) -> None:
    arrays = [leaf for leaf in flatten(given)[0] if isinstance(leaf, np.ndarray)]
    for leaf in flatten(updates)[0]:
        assert leaf is None or not any(np.may_share_memory(leaf, array) for array in arrays)
