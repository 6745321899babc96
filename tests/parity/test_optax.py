"""Every row of the table against optax itself."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill._formulas import FORMULAS
from gradmill._run import NativeRun
from gradmill._scalars import SCALARS
from gradmill._state import links_of, split_state
from gradmill._tree import flatten
from tests.cases import CASES, Case
from tests.trees import assert_close, copy_tree, random_tree, special_tree

STEPS = 10
TOLERANCE = {
    # optax forms `1 - b**t` in float32, which is off by 1.3e-5 for b2 = 0.999 and t = 1.
    np.dtype(np.float32): {"rtol": 3e-5, "atol": 1e-7},
    # Both compute in float64; XLA contracts products and sums, and orders reductions its own way.
    np.dtype(np.float64): {"rtol": 1e-11, "atol": 1e-13},
}
# Rows that are partly single precision in optax whatever the leaves are: it evaluates linear
# schedules and decays float32 slots in float32, where gradmill has float64.
SINGLE = {"rtol": 1e-5, "atol": 1e-6}

pytestmark = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def to_jax(tree: Any) -> Any:
    return jax.tree.map(jax.numpy.asarray, tree)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("grads_of", [random_tree, special_tree])
def test_updates_and_state(case: Case, dtype: Any, grads_of: Any) -> None:
    with jax.enable_x64(dtype == np.float64):
        ours, theirs = case.make(gm), case.make(optax)
        is_single = case.single and dtype == np.float64
        tolerance = SINGLE if is_single else TOLERANCE[np.dtype(dtype)]
        params = random_tree(0, dtype)
        state, their_state = ours.init(params), theirs.init(to_jax(params))
        same_kind(state, their_state)
        for step in range(STEPS):
            grads = grads_of(step + 1, dtype)
            updates, state = ours.update(grads, state, params)
            their_updates, their_state = theirs.update(to_jax(grads), their_state, to_jax(params))
            assert_close(updates, their_updates, **tolerance)
            assert_close(state, their_state, **tolerance)
            same_kind(state, their_state)


def same_kind(ours: Any, theirs: Any) -> None:
    """The same containers, field names, shapes and dtypes."""
    if hasattr(theirs, "dtype"):
        assert isinstance(ours, np.ndarray)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    elif isinstance(theirs, dict):
        assert sorted(ours) == sorted(theirs)
        for key, value in theirs.items():
            same_kind(ours[key], value)
    elif isinstance(theirs, tuple):
        assert type(ours).__name__ == type(theirs).__name__
        assert getattr(ours, "_fields", None) == getattr(theirs, "_fields", None)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same_kind(a, b)
    else:
        assert ours is None
        assert theirs is None


def test_late_steps(case: Case) -> None:
    """Counts of a long run: corrections are close to one, schedules at their end."""
    ours, theirs = case.make(gm), case.make(optax)
    params, grads = random_tree(0), random_tree(1)
    state, their_state = ours.init(params), theirs.init(to_jax(params))
    for count in (999, 123_456, 2**31 - 1):
        late = late_state(state, np.asarray(count, np.int32))
        their_late = late_state(their_state, jax.numpy.asarray(count, "int32"))
        updates, after = ours.update(grads, late, params)
        their_updates, their_after = theirs.update(to_jax(grads), their_late, to_jax(params))
        assert_close(updates, their_updates, rtol=1e-4, atol=1e-6)
        same_kind(after, their_after)


def late_state(state: Any, count: Any) -> Any:
    if isinstance(state, tuple):
        fields = [late_state(value, count) for value in state]
        if not hasattr(state, "_fields"):
            return tuple(fields)
        named = dict(zip(state._fields, fields, strict=True))
        return type(state)(**{**named, **({"count": count} if "count" in named else {})})
    return state


def test_error_is_at_most_that_of_optax(case: Case) -> None:
    """The float64 formula is the oracle: over ten steps in float32 we are no further from it."""
    ours, theirs = case.make(gm), case.make(optax)
    params = random_tree(0)
    state, their_state = ours.init(params), theirs.init(to_jax(params))
    oracle = Oracle(ours, params)
    errors: list[tuple[float, float]] = []
    for step in range(STEPS):
        grads = random_tree(step + 1)
        updates, state = ours.update(grads, state, params)
        their_updates, their_state = theirs.update(to_jax(grads), their_state, to_jax(params))
        exact = oracle.update(grads)
        errors.append((squared_error(updates, exact), squared_error(their_updates, exact)))
    mine, optaxs = np.sqrt(np.mean(errors, axis=0))
    assert mine <= 1.05 * optaxs


def squared_error(tree: Any, exact: list[Any]) -> float:
    leaves = [leaf for leaf in flatten(tree)[0] if leaf is not None]
    pairs = zip(leaves, exact, strict=True)
    return float(sum(np.sum((np.asarray(a, np.float64) - b) ** 2) for a, b in pairs))


def wide(leaf: Any) -> Any:
    return np.asarray(leaf, np.float64)


class Oracle:
    """A chain by its formulas, in float64."""

    def __init__(self, tx: Any, params: Any) -> None:
        self.run = NativeRun(tuple(links_of(tx)))
        self.params, treespec = flatten(copy_tree(params))
        self.skips = self.run.skips(params, treespec) or [0] * len(self.params)
        states = split_state(tx, tx.init(params))
        slots = iter(self.run.slot_leaves(states, treespec))
        self.slots = [[next(slots) for _ in spec.slots] for spec in self.run.specs]
        self.count = 0

    def update(self, grads: Any) -> list[Any]:
        leaves = [
            None if leaf is None else np.asarray(leaf, np.float64) for leaf in flatten(grads)[0]
        ]
        bit = 0
        for position, (spec, (_, scalars_of)) in enumerate(
            zip(self.run.specs, self.run.scalars_of, strict=True)
        ):
            op = spec.op
            if op is None:
                continue
            scalars = dict(zip(SCALARS[op], scalars_of(self.count), strict=True))
            if op == "clip_by_global_norm":
                squares = (np.sum(leaf**2) for leaf in leaves if leaf is not None)
                scalars["norm"] = np.sqrt(sum(squares))
            for index, (leaf, param) in enumerate(zip(leaves, self.params, strict=True)):
                if leaf is None or self.skips[index] >> bit & 1:
                    continue
                own = [np.asarray(slot[index], np.float64) for slot in self.slots[position]]
                leaves[index], *new = FORMULAS[op](
                    np, leaf, param.astype(np.float64), *own, **scalars
                )
                for slot, value in zip(self.slots[position], new, strict=True):
                    slot[index] = value
            bit += 1
        self.count += 1
        return [leaf for leaf in leaves if leaf is not None]
