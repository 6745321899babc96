"""States and masters from elsewhere."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import LeafTypeError, LeafValueError
from tests.fault.hostile.inputs import (
    CHAINS,
    GUISES,
    Offers,
    Prickly,
    Raises,
    each_guise,
    field,
    refused,
    tree,
    with_field,
)
from tests.trees import bits


def nu_with(value: Any) -> Any:
    state = gm.adam(0.1).init([np.ones(3), np.ones(2)])
    return with_field(state, "state[0].nu[1]", value)


CHECKPOINTS = {
    "another shape the second time": Offers(np.ones(2), np.ones(7)),
    "a shape to broadcast the second time": Offers(np.ones(2), np.full(1, 9.0)),
    "no array": Offers(3),
    "raises": Raises(OSError("boom")),
    "masked": np.ma.array([1.0, 2.0], mask=[False, True]),
}


@pytest.mark.parametrize("value", CHECKPOINTS)
def test_hostile_checkpoints(value: str) -> None:
    opt = gm.Optimizer(gm.adam(0.1), [np.ones(3), np.ones(2)])
    opt.step([np.ones(3), np.ones(2)])
    expected = gm.adam(0.1).init(opt.params)
    offered = CHECKPOINTS[value]
    if isinstance(offered, Offers):
        offered = Offers(*offered.values)
    before = bits(opt.state)
    try:
        opt.init_from(nu_with(offered))
    except (LeafValueError, LeafTypeError) as error:
        assert str(error).startswith("state[0].nu[1]")  # noqa: PT017  (one of two ways out)
        assert bits(opt.state) == before
    else:
        assert value.endswith("second time")
        assert bits(opt.state) == bits(with_field(expected, "state[0].nu[1]", np.ones(2)))


def test_a_checkpoint_into_state_that_is_locked() -> None:
    opt = gm.Optimizer(gm.adam(0.1), [np.ones(3), np.ones(2)])
    opt.step([np.ones(3), np.ones(2)])
    opt.state[0].nu[1].setflags(write=False)
    with refused("state[0].nu[1]", cause="read-only", unchanged=opt.state):
        opt.init_from(gm.adam(0.1).init(opt.params))


def test_a_count_in_a_checkpoint_that_is_no_int32() -> None:
    for count in (2**40, -(2**40), 1.5):
        opt = gm.Optimizer(gm.adam(0.1), np.ones(3))
        state = with_field(gm.adam(0.1).init(np.ones(3)), "state[0].count", count)
        with refused("state[0].count", unchanged=opt.state):
            opt.init_from(state)


def test_a_number_of_steps_that_is_none() -> None:
    for steps in (-1, 2**64, 1.5, "x"):
        any_opt: Any = gm.Optimizer(gm.adam(0.1), np.ones(3))
        with pytest.raises((ValueError, TypeError), match="steps"):
            any_opt.init_from(any_opt.state, steps=steps)


def test_a_checkpoint_that_is_the_state_itself() -> None:
    opt = gm.Optimizer(gm.adam(0.1), [np.ones(3), np.ones(2)])
    opt.step([np.ones(3), np.ones(2)])
    before = bits(opt.state)
    opt.init_from(opt.state)
    assert bits(opt.state) == before
    assert opt.step([np.ones(3), np.ones(2)]).step == 2


@each_guise
def test_a_checkpoint_in_a_guise(guise: str) -> None:
    tx = CHAINS["carried"]
    opt = gm.Optimizer(tx, tree())
    _, state = tx.update(tree(), tx.init(tree()), tree())
    path = "state[0].nu['w']"
    disguised = GUISES[guise](field(state, path))
    if guise in {"half", "byte-swapped"}:
        with refused(path, unchanged=(opt.params, opt.state)):
            opt.init_from(with_field(state, path, disguised))
    elif guise != "offered first":
        opt.init_from(with_field(state, path, disguised))
        assert bits(opt.state) == bits(state)


MASTERS = {
    "complex": np.ones(3, np.complex64),
    "text": ["x", "y", "z"],
    "dates": np.zeros(3, "M8[s]"),
    "masked": np.ma.array([1.0, 2.0, 3.0], mask=[True, False, False]),
    "too large for float32": np.full(3, 1e300),
}


@pytest.mark.parametrize("value", MASTERS)
def test_hostile_masters(value: str) -> None:
    params = {"h": np.ones(3, np.float16), "w": np.ones(2)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with refused("master['h']", unchanged=params):
            gm.Optimizer(gm.sgd(0.1), params, master={"h": MASTERS[value], "w": None})


def test_masters_of_a_subclass_that_takes_part_in_nothing() -> None:
    params = np.ones(3, np.float16).view(Prickly)
    opt = gm.Optimizer(gm.sgd(0.5), params, master=True)
    opt.step(np.ones(3))
    assert params.view(np.ndarray).tolist() == [0.5] * 3
