"""States of optax and of gradmill hold the same bits, whichever way they go."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

import gradmill as gm
from gradmill.jax import from_optax_state, to_optax_state
from tests.cases import CASES, IN_OPTAX, Case
from tests.jax.versions import enable_x64
from tests.on_jax import to_jax
from tests.optax_runs import usual_steps
from tests.trees import assert_close, bits, random_tree

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
in_optax = pytest.mark.parametrize("case", IN_OPTAX, ids=lambda case: case.name)


def after_steps(tx: Any, params: Any) -> Any:
    state = tx.init(params)
    for step in range(3):
        _, state = tx.update(random_tree(step + 1), state, params)
    return state


def structure(state: Any) -> Any:
    return jax.tree.structure(state)


@each_case
def test_there_and_back(case: Case) -> None:
    state = after_steps(case.make(gm), random_tree(0))
    theirs = to_optax_state(state)
    back = from_optax_state(theirs)
    assert bits(back) == bits(state)
    assert str(structure(back)) == str(structure(state))
    assert all(isinstance(leaf, (jax.Array, bool, int)) for leaf in jax.tree.leaves(theirs))


@in_optax
def test_they_are_alike(case: Case) -> None:
    """Ours becomes optax's, and optax's ours, in the midst of a run."""
    ours, params = case.make(gm), random_tree(0)
    step = usual_steps(case)[3]
    state = after_steps(ours, params)
    converted = to_optax_state(state)
    assert structure(converted) == structure(step.before)
    own = from_optax_state(step.before)
    assert str(structure(own)) == str(structure(state))
    assert_close(own, state, rtol=1e-4, atol=1e-6)
    updates, _ = ours.update(step.grads, own, params)
    assert_close(updates, step.updates, rtol=1e-4, atol=1e-6)


@pytest.mark.full
@in_optax
def test_optax_takes_it(case: Case) -> None:
    """The structure is that of optax's own state; the next updates agree."""
    ours, theirs = case.make(gm), case.make(optax)
    params, grads = random_tree(0), random_tree(9)
    state = after_steps(ours, params)
    converted = to_optax_state(state)
    with jax.disable_jit():
        expected = theirs.init(to_jax(params))
        assert structure(converted) == structure(expected)
        updates, _ = theirs.update(to_jax(grads), converted, to_jax(params))
    assert_close(ours.update(grads, state, params)[0], updates, rtol=1e-4, atol=1e-6)


@pytest.mark.full
@in_optax
def test_gradmill_takes_it(case: Case) -> None:
    """A state that optax made goes on here, in place too."""
    ours, theirs = case.make(gm), case.make(optax)
    params, grads = random_tree(0), random_tree(9)
    with jax.disable_jit():
        there = to_jax(params)
        _, state = theirs.update(to_jax(grads), theirs.init(there), there)
        expected, _ = theirs.update(to_jax(grads), state, there)
    own = from_optax_state(state)
    updates, _ = ours.update(grads, own, params)
    assert_close(updates, expected, rtol=1e-4, atol=1e-6)
    if not case.python:
        opt = gm.Optimizer(ours, random_tree(0))
        opt.init_from(own)
        opt.step(grads)
        assert_close(opt.params, gm.apply_updates(params, updates), rtol=1e-6, atol=1e-6)


def test_optaxs_tools_find_their_way() -> None:
    tx = gm.chain(gm.clip(1.0), gm.adam(0.1))
    state = to_optax_state(after_steps(tx, random_tree(0)))
    assert optax.tree_utils.tree_get(state, "count") == 3
    assert isinstance(state[1][0], optax.ScaleByAdamState)
    changed = optax.tree_utils.tree_set(state, count=jnp.asarray(7, jnp.int32))
    assert from_optax_state(changed)[1][0].count == 7


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_every_bit_of_every_dtype(dtype: Any) -> None:
    width = np.dtype(dtype).itemsize
    patterns = np.arange(2**16, dtype=np.uint16)
    values = patterns.view(dtype) if width == 2 else (patterns.astype(np.uint32) << 16).view(dtype)
    state = gm.TraceState({"w": values})
    back = from_optax_state(to_optax_state(state))
    assert back.trace["w"].tobytes() == values.tobytes()
    assert back.trace["w"].flags.writeable


def test_float64() -> None:
    state = gm.adam(0.1).init(np.ones(2))
    with pytest.raises(TypeError, match="jax_enable_x64"):
        to_optax_state(state)
    with enable_x64(True):
        assert bits(from_optax_state(to_optax_state(state))) == bits(state)


def test_other_containers() -> None:
    """Trees of parameters may be of any kind that both libraries take."""
    leaves = defaultdict(list, a=[np.ones(2, np.float32)], b=[])
    tree = OrderedDict(z=leaves, y=(np.zeros(1, np.float32), None))
    state = gm.EmaState(np.zeros((), np.int32), tree)
    theirs = to_optax_state(state)
    assert isinstance(theirs, optax.EmaState)
    assert list(theirs.ema) == ["z", "y"]
    assert theirs.ema["z"].default_factory is list
    assert bits(from_optax_state(theirs)) == bits(state)
