"""Trees are matched by key: neither the order of keys nor the kind of mapping matters."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradmill as gm
from gradmill._plan.layout import links_of
from tests.cases import CASES, Case
from tests.trees import SHAPES, bits, copy_tree, random_tree

KINDS: list[Any] = [dict, OrderedDict, lambda pairs: defaultdict(list, pairs)]
KEYS = [*SHAPES, "none"]
MASK = {"bias": False, "kernel": True, "conv": True, "scalar": False, "empty": True, "none": True}
LABELS = {key: "ab"[take] for key, take in MASK.items()}
ROWS = {case.name: case for case in CASES}

reorderings = st.tuples(st.permutations(KEYS), st.sampled_from(KINDS))
"""An order of keys and a kind of mapping."""


def reordered(tree: Any, how: Any) -> Any:
    """The same tree, with each mapping of the parameters' keys in another guise."""
    order, kind = how
    if isinstance(tree, tuple):
        parts = [reordered(part, how) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if not isinstance(tree, dict):
        return tree
    keys = [key for key in order if key in tree] if set(tree) <= set(KEYS) else reversed(tree)
    return kind([(key, reordered(tree[key], how)) for key in keys])


def by_key(tree: Any) -> Any:
    """The same tree of plain dicts, whose leaves come in the order of their keys."""
    if isinstance(tree, dict):
        return {key: by_key(child) for key, child in tree.items()}
    if isinstance(tree, (list, tuple)):
        return tuple(map(by_key, tree))
    return tree


def run(tx: Any, ways: list[Any]) -> list[Any]:
    """What steps give, functional and in place; ``ways`` are those of parameters and so on."""
    of_params, of_grads, of_state = ways
    params = reordered(random_tree(1), of_params)
    opt = gm.Optimizer(tx, reordered(copy_tree(random_tree(1)), of_params))
    state, seen = tx.init(params), []
    for step in range(3):
        grads = reordered(random_tree(step + 2), of_grads)
        state = reordered(state, of_state)
        updates, state = tx.update(grads, state, params)
        assert type(updates) is type(grads)
        params = gm.apply_updates(params, updates)
        opt.step(grads)
        opt.init_from(reordered(opt.state, of_state))
        found = [updates, state, params, opt.state, opt.params]
        seen += [bits(by_key(tree)) for tree in found]
    return seen


PLAIN = [(sorted(KEYS), dict)] * 3


def numbers_leaves(tx: Any) -> bool:
    """Whether norms are added up, or random numbers drawn, in the order of the parameters."""
    return any(
        link.spec is None or (link.op is not None and (link.op.draws or link.op.finds == "norm"))
        for link in links_of(tx)
    )


def variants(case: Case, mask: Any, labels: Any) -> list[Any]:
    """A row by itself, and beneath masks and labels."""
    tx = case.make(gm)
    return [
        tx,
        gm.masked(tx, mask),
        gm.partition({"a": gm.set_to_zero(), "b": tx}, labels),
    ]


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=max(settings().max_examples // 13, 1))
@given(ways=st.lists(reorderings, min_size=4, max_size=4))
def test_rows_do_not_see_orders_and_kinds(name: str, ways: list[Any]) -> None:
    case = ROWS[name]
    *ways, of_masks = ways
    plain = variants(case, MASK, LABELS)
    other = variants(case, reordered(MASK, of_masks), reordered(LABELS, of_masks))
    for expected, tx in zip(plain, other, strict=True):
        if numbers_leaves(tx):
            # An OrderedDict numbers its leaves in the order it has, as it does for optax.
            ways[0] = (sorted(KEYS), ways[0][1])
        assert run(tx, ways) == run(expected, PLAIN)


def nested(leaf: Any, order: list[str], kinds: list[Any]) -> Any:
    """Mappings in mappings, a tuple and a list; ``leaf`` is called with the path of each."""
    outer, inner = kinds
    layers = inner([(key, leaf(f"layers/{key}")) for key in order])
    head = inner([(key, leaf(f"head/{key}")) for key in order[::-1]])
    rows = [
        ("layers", layers),
        ("head", (leaf("head/0"), head)),
        ("tail", [leaf("tail/0"), outer([("q", leaf("tail/q"))])]),
    ]
    return outer(rows if order[0] < order[1] else rows[::-1])


@given(
    st.lists(st.permutations(["w", "b", "g"]), min_size=5, max_size=5),
    st.lists(st.lists(st.sampled_from(KINDS), min_size=2, max_size=2), min_size=5, max_size=5),
)
def test_nested_trees_with_masks_and_labels(orders: list[Any], kinds: list[Any]) -> None:
    ways = list(zip(orders, kinds, strict=True))

    def array(path: str) -> Any:
        return np.full(3, sum(map(ord, path)) / 100)

    def is_weight(path: str) -> bool:
        return path.endswith(("w", "0"))

    def make(mask_way: Any, label_way: Any) -> Any:
        mask = nested(is_weight, *mask_way)
        labels = nested(lambda path: "x" if is_weight(path) else "y", *label_way)
        return gm.chain(
            gm.add_decayed_weights(0.1, mask=mask),
            gm.masked(gm.trace(0.9), lambda _: mask),
            gm.partition({"x": gm.adam(0.1), "y": gm.sgd(0.1, 0.9)}, labels),
            gm.selective_transform(
                gm.scale(2.0), freeze_mask=nested(lambda p: "g" in p, *mask_way)
            ),
        )

    seen = []
    for a, b, c, d, e in (ways, [(["b", "g", "w"], [dict, dict])] * 5):
        tx, params = make(d, e), nested(array, *a)
        opt = gm.Optimizer(tx, nested(array, *a))
        state, grads = tx.init(nested(array, *c)), nested(lambda path: -array(path) / 7, *b)
        for _ in range(2):
            updates, state = tx.update(grads, state, params)
            params = gm.apply_updates(params, updates)
            opt.step(grads)
        opt.init_from(state)
        trees = [updates, params, opt.params, state, opt.state]
        seen.append([bits(by_key(tree)) for tree in trees])
    assert seen[0] == seen[1]


@given(st.lists(reorderings, min_size=2, max_size=2))
def test_master_copies_are_matched_by_key(ways: list[Any]) -> None:
    def steps(of_params: Any, of_master: Any) -> Any:
        params = reordered(random_tree(1, np.float16), of_params)
        copies = reordered(random_tree(1), of_master)
        opt = gm.Optimizer(gm.adamw(0.1), params, master=copies)
        opt.step(random_tree(2, np.float16))
        return bits(by_key((opt.master, opt.params, opt.state)))

    assert steps(*ways) == steps(*PLAIN[:2])
