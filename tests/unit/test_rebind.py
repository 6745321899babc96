"""Arrays that change from step to step, and leaves of no floats."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from tests.trees import bits


def bound(**options: Any) -> gm.Optimizer:
    opt = gm.Optimizer(gm.adam(0.1), {"w": np.ones(3), "b": np.zeros(2)}, **options)
    opt.step({"w": np.ones(3), "b": np.ones(2)})
    return opt


WRONG: list[tuple[Any, type[Exception], str]] = [
    ({"w": np.ones(3)}, TreeError, "b"),
    ({"w": np.ones(3), "b": np.zeros(3)}, LeafValueError, r"params\['b'\]"),
    ({"w": np.ones(3, np.float32), "b": np.zeros(2)}, LeafValueError, r"params\['w'\]: float32"),
    ({"w": [1.0, 1.0, 1.0], "b": np.zeros(2)}, TreeError, "w"),
    ({"w": None, "b": np.zeros(2)}, LeafTypeError, r"params\['w'\]"),
    ({"w": np.broadcast_to(1.0, 3), "b": np.zeros(2)}, LeafValueError, r"params\['w'\]"),
]


@pytest.mark.parametrize(("params", "error", "named"), WRONG, ids=range(len(WRONG)))
def test_what_does_not_fit_changes_nothing(params: Any, error: Any, named: str) -> None:
    opt = bound()
    own, before = opt.params, bits((opt.params, opt.state))
    for call in (
        opt.rebind,
        lambda other: opt.step({"w": np.ones(3), "b": np.ones(2)}, params=other),
    ):
        with pytest.raises(error, match=named):
            call(params)
        assert opt.params is own
        assert bits((opt.params, opt.state)) == before
    opt.step({"w": np.ones(3), "b": np.ones(2)})


def test_arrays_that_overlap_the_state_are_refused() -> None:
    opt = gm.Optimizer(gm.trace(0.9), np.ones(3))
    with pytest.raises(LeafValueError, match="params"):
        opt.rebind(opt.state.trace)
    opt.step(np.ones(3))


def test_the_arrays_before_are_left_alone() -> None:
    opt = bound()
    old, new = opt.params, {"b": np.full(2, 5.0), "w": np.full(3, 4.0)}
    before = bits(old)
    opt.rebind(new)
    opt.step({"w": np.ones(3), "b": np.ones(2)})
    assert opt.params is new
    assert bits(old) == before
    assert new["w"][0] == pytest.approx(3.9)


def test_master_copies_take_the_new_values() -> None:
    opt = gm.Optimizer(gm.sgd(1e-4), np.ones(2, np.float16), master=True)
    opt.step(np.ones(2, np.float16))
    new = np.full(2, 2.0, np.float16)
    opt.step(np.ones(2, np.float16), params=new)
    np.testing.assert_allclose(opt.master, 2 - 1e-4, rtol=1e-6)
    assert (new == 2.0).all()


def test_other_leaves_are_kept_in_copies_and_loaded() -> None:
    params: dict[str, Any] = {"w": np.ones(2), "seen": np.array(3), "name": "net", "on": True}
    opt = gm.Optimizer(gm.adam(0.1), params, others="keep")
    opt.step({"w": np.ones(2), "seen": None, "name": None, "on": None})
    for other in (copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        other.step({"w": np.ones(2), "seen": np.array(0), "name": "x", "on": 1.0})
        assert (other.params["seen"], other.params["name"]) == (3, "net")
    opt.load(params | {"w": np.zeros(2), "seen": np.array(9)})
    assert (params["seen"], params["w"][0]) == (9, 0.0)


@pytest.mark.parametrize("leaf", [np.ones(2, complex), np.float64(1.0), 0.5], ids=repr)
def test_what_could_be_trained_is_not_kept(leaf: Any) -> None:
    with pytest.raises(LeafTypeError, match=r"params\['z'\]"):
        gm.Optimizer(gm.adam(0.1), {"w": np.ones(2), "z": leaf}, others="keep")


def test_integers_are_refused_unless_they_are_to_be_kept() -> None:
    with pytest.raises(LeafTypeError, match=r"params\['n'\]: dtype int64"):
        gm.Optimizer(gm.adam(0.1), {"w": np.ones(2), "n": np.array(3)})
    any_others: Any = "ignore"
    with pytest.raises(ValueError, match="others must be 'refuse' or 'keep'"):
        gm.Optimizer(gm.adam(0.1), np.ones(2), others=any_others)
