"""A panic would be a bug. One that is planted in a kernel is an error, and all else goes on."""

from __future__ import annotations

import pytest

from tests.processes import python

SETUP = """
import sys

import numpy as np

import gradmill as gm
from gradmill import _core
from gradmill._data import trees

assert _core.plant_panic(-1)
tx = gm.chain(gm.trace(0.9), gm.clip_by_global_norm(1.0), gm.adam(0.1))
shape, threads, after = map(int, sys.argv[1:])
gm.set_num_threads(threads)
grads = {"a": np.linspace(1, 2, shape, dtype=np.float32), "b": np.ones(3)}

def zeros():
    return {"a": np.zeros(shape, np.float32), "b": np.zeros(3)}

def raises(step):
    try:
        step()
    except RuntimeError as error:
        return str(error)
    raise AssertionError("no error")
"""


@pytest.mark.parametrize("shape", [10, 700_000])
@pytest.mark.parametrize("threads", [1, 3])
def test_functional_steps(shape: int, threads: int) -> None:
    code = """
params = zeros()
state = tx.init(params)
for _ in range(2):
    updates, state = tx.update(grads, state, params)
    params = gm.apply_updates(params, updates)
before = gm.state_digest((params, state))
good = gm.state_digest(tx.update(grads, state, params))
planted = 0
for after in range(30):
    _core.plant_panic(after)
    try:
        tx.update(grads, state, params)
    except RuntimeError as error:
        assert str(error) == "planted; please report this as a bug of gradmill", error
        planted += 1
    _core.plant_panic(-1)
    assert gm.state_digest((params, state)) == before
    assert gm.state_digest(tx.update(grads, state, params)) == good
_core.plant_panic(0)
assert "planted" in raises(lambda: gm.apply_updates(params, updates))
_core.plant_panic(0)
assert "planted" in raises(lambda: gm.global_norm(params))
print(planted > 3)
"""
    assert python(SETUP + code, shape, threads, 0, planted=True) == "True"


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_steps_in_place(after: int, threads: int) -> None:
    """Such a step may be half done, so the optimizer goes on only from a state that is given."""
    code = """
opt = gm.Optimizer(tx, zeros())
opt.step(grads)
kept = {name: array.copy() for name, array in opt.params.items()}
state = trees.tree_map(np.array, opt.state)
expected = gm.Optimizer(tx, zeros())
for _ in range(2):
    expected.step(grads)

_core.plant_panic(after)
assert "planted" in raises(lambda: opt.step(grads))
_core.plant_panic(-1)
assert "broke off" in raises(lambda: opt.step(grads))
for name, array in kept.items():
    opt.params[name][...] = array
opt.init_from(state)
assert opt.step(grads).step == 2
same = gm.state_digest((expected.params, expected.state))
print(gm.state_digest((opt.params, opt.state)) == same)
"""
    assert python(SETUP + code, 700_000, threads, after, planted=True) == "True"


def test_a_release_has_none() -> None:
    from gradmill import _core

    assert not _core.plant_panic(0)
    _core.plant_panic(-1)
