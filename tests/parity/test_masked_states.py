"""What masks and labels leave has the structure that it has in optax, subtrees as one node."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill.jax import from_optax_state, step, to_optax, to_optax_state
from tests.on_jax import to_numpy
from tests.trees import assert_close, bits, copy_tree

Module = Any


def params() -> dict[str, Any]:
    return {
        "a": np.arange(3, dtype=np.float32),
        "c": {
            "conv": {"w": np.ones((2, 3), np.float32), "b": np.full(2, 0.5, np.float32)},
            "s": np.full(4, -1.0, np.float32),
            "empty": {},
        },
        "d": [np.ones(2, np.float32), (np.zeros(1, np.float32), None)],
    }


def grads(step: int) -> Any:
    return jax.tree.map(lambda leaf: np.cos(leaf + step).astype(np.float32), params())


PREFIX = {"a": True, "c": False, "d": [True, False]}
FINE = {
    "a": False,
    "c": {"conv": {"w": True, "b": False}, "s": True, "empty": {}},
    "d": [True, (True, None)],
}
WHOLE_C = {"a": True, "c": True, "d": [False, True]}
BENEATH = {"a": True, "c": {"conv": True, "s": True, "empty": True}, "d": False}
LABELS = {"a": "x", "c": {"conv": "y", "s": "x", "empty": "y"}, "d": "y"}


def _large(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.size > 2, tree)


ROWS: dict[str, Any] = {
    "prefix": lambda m: m.masked(m.adam(0.1), PREFIX),
    "all": lambda m: m.masked(m.adam(0.1), True),
    "none": lambda m: m.masked(m.adam(0.1), False),
    "fine": lambda m: m.masked(m.adam(0.1), FINE),
    "function": lambda m: m.masked(m.trace(0.9), _large),
    "function of a prefix": lambda m: m.masked(m.trace(0.9), lambda _: PREFIX),
    "two prefixes": lambda m: m.masked(m.masked(m.adam(0.1), {**PREFIX, "a": False}), PREFIX),
    "prefix in fine": lambda m: m.masked(m.masked(m.adam(0.1), WHOLE_C), FINE),
    "function in prefix": lambda m: m.masked(m.masked(m.ema(0.9), _large), PREFIX),
    "labels": lambda m: m.partition({"x": m.adam(0.1), "y": m.sgd(0.1, 0.9)}, LABELS),
    "one label": lambda m: m.partition({"x": m.adam(0.1), "y": m.sgd(0.1, 0.9)}, "y"),
    "labels in prefix": lambda m: m.masked(
        m.partition({"x": m.adam(0.1), "y": m.sgd(0.1, 0.9)}, LABELS), {**PREFIX, "c": True}
    ),
    "prefix in labels": lambda m: m.partition(
        {"x": m.masked(m.adam(0.1), BENEATH), "y": m.set_to_zero()}, LABELS
    ),
    "in a chain": lambda m: m.chain(
        m.add_decayed_weights(0.1, mask=PREFIX), m.masked(m.trace(0.9), PREFIX), m.scale(-1.0)
    ),
    "accumulated": lambda m: m.masked(
        m.MultiSteps(m.adam(0.1), 2).gradient_transformation(), PREFIX
    ),
    "searched for NaN": lambda m: m.masked(m.zero_nans(), PREFIX),
    "finite": lambda m: m.masked(m.apply_if_finite(m.adam(0.1), 3), PREFIX),
    "selective": lambda m: m.selective_transform(m.adam(0.1), freeze_mask=PREFIX),
}


def structure(state: Any) -> Any:
    return jax.tree.structure(state)


@pytest.mark.parametrize("name", ROWS)
def test_states_are_those_of_optax(name: str) -> None:
    tx, theirs = ROWS[name](gm), ROWS[name](optax)
    state, other = tx.init(params()), theirs.init(params())
    here = there = params()
    opt, lowered = gm.Optimizer(tx, params()), to_optax(tx)
    traced = lowered.init(params())
    for number in range(3):
        assert structure(to_optax_state(state)) == structure(other)
        assert structure(to_optax_state(opt.state)) == structure(other) == structure(traced)
        # From either library, and back.
        back = from_optax_state(to_optax_state(state))
        assert bits(back) == bits(state)
        opt.init_from(from_optax_state(other))
        opt.init_from(back)
        updates, state = tx.update(grads(number), back, here)
        theirs_updates, other = theirs.update(grads(number), other, there)
        of_traced, traced = lowered.update(grads(number), traced, there)
        here, there = gm.apply_updates(here, updates), optax.apply_updates(there, theirs_updates)
        opt.step(grads(number))
        assert_close(updates, theirs_updates, 1e-5, 1e-6)
        assert_close(of_traced, theirs_updates, 1e-5, 1e-6)
        assert bits((opt.params, opt.state)) == bits((here, state))


def test_a_mask_may_go_into_what_another_leaves_out() -> None:
    """Which optax refuses."""
    tx = gm.masked(gm.masked(gm.trace(0.9), FINE), PREFIX)
    trace = tx.init(params()).inner_state.inner_state.trace
    hole = gm.MaskedNode()
    assert (trace["a"], trace["c"], trace["d"][1]) == (hole, hole, hole)
    assert isinstance(trace["d"][0], np.ndarray)
    with pytest.raises(ValueError, match="structure"):
        optax.masked(optax.masked(optax.trace(0.9), FINE), PREFIX).init(params())


def test_a_step_of_jax_keeps_the_structure() -> None:
    for name in ("prefix in labels", "labels in prefix", "accumulated"):
        update = step(ROWS[name](gm))
        state = update.init(params())
        new, after = update(grads(0), state, params())
        assert structure(after) == structure(state)
        expected = gm.Optimizer(ROWS[name](gm), copy_tree(params()))
        expected.step(grads(0))
        assert bits(to_numpy(new)) == bits(expected.params)
