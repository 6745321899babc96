"""Counts and keys in states that no transformation has made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import flatten
from tests.fault.hostile.inputs import F32, field, old_ways, refused, with_field
from tests.trees import bits

COUNTING: dict[str, tuple[Any, str]] = {
    "adam": (gm.adam(0.1), "state[0].count"),
    "multi steps": (gm.MultiSteps(gm.trace(0.9), 3), "state.mini_step"),
    "rounds": (gm.MultiSteps(gm.trace(0.9), 2), "state.gradient_step"),
    "apply if finite": (gm.apply_if_finite(gm.trace(0.9)), "state.notfinite_count"),
    "every": (gm.apply_every(2), "state.count"),
    "noise": (gm.add_noise(0.1, 0.5, 3), "state.count"),
    "injected": (gm.inject_hyperparams(gm.sgd)(0.1), "state.count"),
}
each_counting = pytest.mark.parametrize("chain", COUNTING)


@each_counting
def test_counts_that_are_as_high_as_they_go(chain: str) -> None:
    tx, path = COUNTING[chain]
    top = np.array(np.iinfo(np.int32).max, np.int32)
    state = with_field(tx.init(np.ones(3)), path, top)
    updates, state = tx.update(np.ones(3), state, np.ones(3))
    assert np.isfinite(updates).all()
    assert field(state, path).dtype == np.int32
    assert field(state, path) >= 0
    opt = gm.Optimizer(tx, np.ones(3))
    opt.init_from(with_field(tx.init(np.ones(3)), path, top))
    for _ in range(3):
        opt.step(np.ones(3))
    assert np.isfinite(opt.params).all()
    assert field(opt.state, path) >= 0


BAD_COUNTS = {
    "negative": np.array(-5, np.int32),
    "two": np.array([1, 2], np.int32),
    "with an axis": np.array([1], np.int32),
    "no element": np.zeros(0, np.int32),
    "NaN": np.array(np.nan),
    "text": np.array("x"),
    "object": np.array(None),
    "None": None,
    "list": [1],
    "complex": 1j,
}


@pytest.mark.parametrize("count", BAD_COUNTS)
def test_counts_that_are_none(count: str) -> None:
    for tx, path in COUNTING.values():
        state = with_field(tx.init(np.ones(3)), path, BAD_COUNTS[count])
        with refused(path):
            tx.update(np.ones(3), state, np.ones(3))


def test_a_count_that_is_too_high() -> None:
    tx = gm.adam(0.1)
    state = with_field(tx.init(np.ones(3)), "state[0].count", np.array(2**64 - 1, np.uint64))
    try:
        updates, _ = tx.update(np.ones(3), state, np.ones(3))
    except (ValueError, TypeError):
        return
    assert np.isfinite(updates).all()


def test_a_negative_count_in_a_checkpoint() -> None:
    for tx, path in COUNTING.values():
        opt = gm.Optimizer(tx, np.ones(3))
        state = with_field(tx.init(np.ones(3)), path, np.array(-5, np.int32))
        with refused(path, unchanged=opt.state):
            opt.init_from(state)


def locked_counts(opt: gm.Optimizer) -> None:
    for leaf in flatten(opt.state)[0]:
        if leaf.ndim == 0:
            leaf.setflags(write=False)


def test_a_count_that_is_locked_between_steps() -> None:
    opt = gm.Optimizer(gm.adam(0.1), np.ones(3))
    opt.step(np.ones(3))
    locked_counts(opt)
    with refused("state[0].count", cause="read-only", unchanged=(opt.params, opt.state)):
        opt.step(np.ones(3))


@each_counting
def test_counts_that_the_host_keeps_are_replaced(chain: str) -> None:
    """So it does not matter that they were locked."""
    tx, _ = COUNTING[chain]
    opt, twin = gm.Optimizer(tx, np.ones(3)), gm.Optimizer(tx, np.ones(3))
    if chain == "adam":
        pytest.skip("its count is overwritten")
    for _ in range(3):
        locked_counts(opt)
        opt.step(np.ones(3))
        twin.step(np.ones(3))
    assert bits((opt.params, opt.state)) == bits((twin.params, twin.state))


def test_a_count_whose_dtype_changes_between_steps() -> None:
    opt = gm.Optimizer(gm.adam(0.1), np.ones(3))
    opt.step(np.ones(3))
    with old_ways():
        opt.state[0].count.dtype = F32
    with refused("state[0].count", unchanged=(opt.params, opt.state)):
        opt.step(np.ones(3))
