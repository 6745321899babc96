"""The contracts of the design, over random chains and trees."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import gradmill as gm
from gradmill import _core
from gradmill._data.trees import tree_map
from gradmill._ops.op import OPS
from gradmill._plan.layout import links_of
from tests.property.strategies import (
    ROWS,
    chains,
    elementwise,
    layouts,
    links,
    problems,
    relayout,
)
from tests.tiers import TIERS, force
from tests.trees import bits, copy_tree


def pure_run(tx: Any, params: Any, grads: list[Any]) -> list[Any]:
    """Updates, state and parameters after each step of the functional path, as bits."""
    state, seen = tx.init(params), []
    for grad in grads:
        updates, state = tx.update(grad, state, params)
        params = gm.apply_updates(params, updates)
        seen.append((bits(updates), bits(state), bits(params)))
    return seen


def in_place_run(tx: Any, params: Any, grads: list[Any]) -> list[Any]:
    opt = gm.Optimizer(tx, params)
    seen = []
    for grad in grads:
        opt.step(grad)
        seen.append((bits(opt.state), bits(opt.params)))
    return seen


def without_updates(seen: list[Any]) -> list[Any]:
    return [(state, params) for _, state, params in seen]


@given(chains, problems(special=True))
def test_fused_is_op_by_op(tx: Any, problem: Any) -> None:
    params, grads = problem
    fused = pure_run(tx, params, grads)
    _core.force(fuse=False)
    try:
        assert pure_run(tx, params, grads) == fused
    finally:
        _core.force()


@given(st.lists(links, max_size=5), problems())
def test_chain_is_its_members_in_turn(members: list[Any], problem: Any) -> None:
    """Fusion is an optimisation, never a semantics."""
    params, (grad, *_) = problem
    tx = gm.chain(*members)
    updates, state = tx.update(grad, tx.init(params), params)
    one_by_one, states = grad, []
    for member in members:
        one_by_one, new = member.update(one_by_one, member.init(params), params)
        states.append(new)
    assert bits(updates) == bits(one_by_one)
    assert bits(state) == bits(tuple(states))


@given(links, links, links, problems())
def test_chains_associate(a: Any, b: Any, c: Any, problem: Any) -> None:
    params, grads = problem
    left = pure_run(gm.chain(gm.chain(a, b), c), params, grads)
    assert pure_run(gm.chain(a, gm.chain(b, c)), params, grads) == left
    assert pure_run(gm.chain(a, b, c), params, grads) == left


@given(chains, problems(special=True))
def test_every_tier_gives_the_same_bits(tx: Any, problem: Any) -> None:
    params, grads = problem
    best = pure_run(tx, params, grads)
    try:
        for tier in TIERS:
            if force(tier):
                assert pure_run(tx, params, grads) == best
    finally:
        _core.force()


@given(chains, problems(special=True))
def test_in_place_is_functional(tx: Any, problem: Any) -> None:
    params, grads = problem
    expected = without_updates(pure_run(tx, params, grads))
    assert in_place_run(tx, copy_tree(params), grads) == expected


@given(chains, problems(), st.lists(layouts, min_size=4, max_size=4))
def test_layout_does_not_matter(tx: Any, problem: Any, how: list[str]) -> None:
    params, grads = problem
    expected = pure_run(tx, params, grads)
    other = {key: relayout(leaf, how[0]) for key, leaf in params.items()}
    others = [
        {key: relayout(leaf, layout) for key, leaf in grad.items()}
        for grad, layout in zip(grads, how[1:], strict=True)
    ]
    assert pure_run(tx, other, others) == expected
    assert in_place_run(tx, other, others) == without_updates(expected)


@given(chains, problems())
def test_inputs_are_not_written(tx: Any, problem: Any) -> None:
    params, (grad, *_) = problem
    state = tx.init(params)
    before = bits((params, grad, state))
    for tree in (params, grad, state):
        tree_map(lambda leaf: leaf.setflags(write=False) or leaf, tree)
    updates, _ = tx.update(grad, state, params)
    gm.apply_updates(params, updates)
    assert bits((params, grad, state)) == before


@given(chains, problems())
def test_state_keeps_its_structure(tx: Any, problem: Any) -> None:
    params, grads = problem
    state = tx.init(params)

    def structure(tree: Any) -> list[Any]:
        return [(dtype, shape) for dtype, shape, _ in bits(tree)]

    for grad in grads:
        _, new = tx.update(grad, state, params)
        assert structure(new) == structure(state)
        assert str(type(new)) == str(type(state))
        state = new


@settings(max_examples=max(settings().max_examples // 4, 1))
@given(chains, st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
def test_threads_give_the_same_bits(tx: Any, seed: int, dtype: Any) -> None:
    """Large enough for several threads: one long leaf, strided and half ones, many small ones."""
    rng = np.random.default_rng(seed)

    def tree() -> dict[str, Any]:
        arrays: dict[str, Any] = {
            "long": rng.standard_normal(140_001),
            "wide": rng.standard_normal((65, 1001)),
            "few": rng.standard_normal((30_000, 2))[:, 0],
            "half": rng.standard_normal(40_000).astype(np.float16),
        }
        arrays |= {f"many{index}": rng.standard_normal((40, 25)) for index in range(20)}
        cast: dict[str, Any] = {
            name: leaf if name == "half" else leaf.astype(dtype, order="K")
            for name, leaf in arrays.items()
        }
        cast["wide"] = np.asfortranarray(cast["wide"])
        cast["long"][rng.integers(0, 140_001, 3)] = [np.nan, -0.0, 1e-38]
        return cast

    params, grads = tree(), [tree(), tree()]
    with gm.num_threads(1):
        expected = pure_run(tx, params, grads)
        assert in_place_run(tx, copy_tree(params), grads) == without_updates(expected)
    for threads in (2, 3, 7, 16):
        with gm.num_threads(threads):
            assert pure_run(tx, params, grads) == expected
            assert in_place_run(tx, copy_tree(params), grads) == without_updates(expected)


@given(st.lists(elementwise, max_size=5), problems(special=True), st.floats(0, 1))
def test_leaves_may_be_cut(members: list[Any], problem: Any, share: float) -> None:
    """Where ops look at one element at a time, a leaf may as well be two."""
    tx = gm.chain(*members)
    params, grads = problem
    flat = np.concatenate([leaf.ravel() for leaf in params.values()])
    flat_grads = [np.concatenate([leaf.ravel() for leaf in grad.values()]) for grad in grads]
    at = round(share * flat.size)

    def cut(array: Any) -> list[Any]:
        return [array[:at], array[at:]]

    whole, parts = gm.Optimizer(tx, flat.copy()), gm.Optimizer(tx, cut(flat.copy()))
    for grad in flat_grads:
        whole.step(grad)
        parts.step(cut(grad))
        assert bits(np.concatenate(parts.params)) == bits(whole.params)
    updates, _ = tx.update(flat_grads[0], tx.init(flat), flat)
    of_parts, _ = tx.update(cut(flat_grads[0]), tx.init(cut(flat)), cut(flat))
    assert bits(np.concatenate(of_parts)) == bits(updates)


def test_chains_have_every_op() -> None:
    """The properties are about all of them: each op stands in a row that chains are drawn from."""
    seen = {link.op for case in ROWS for link in links_of(case.make(gm))}
    missing = sorted(name for name, op in OPS.items() if op not in seen)
    assert not missing, (
        f"chains are drawn without {missing}: tests/cases/ has no row for it without a mask of"
        ' its own; add one, as in Case("name", lambda m: m.name(...))'
    )
