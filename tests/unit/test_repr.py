"""Transformations print as the code that makes them."""

from __future__ import annotations

import copy
import functools
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from tests.cases import CASES, arguments

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_code_makes_the_same(case: Any) -> None:
    tx = case.make(gm)
    again = eval(repr(tx), {"gm": gm, "np": np, **vars(arguments)})  # noqa: S307  (our own)
    assert gm.state_digest(again) == gm.state_digest(tx)
    assert repr(again) == repr(tx)
    for copied in (pickle.loads(pickle.dumps(tx)), copy.deepcopy(tx), copy.copy(tx)):
        assert repr(copied) == repr(tx)


def rate(*step: Any) -> float:
    return 0.1


CODE: dict[str, Callable[[], Any]] = {
    "gm.adam(0.1)": lambda: gm.adam(0.1),
    "gm.adam(learning_rate=0.1, b2=0.99)": lambda: gm.adam(learning_rate=0.1, b2=0.99),
    "gm.sgd(rate)": lambda: gm.sgd(rate),
    "gm.chain(gm.clip(1.0), gm.MultiSteps(gm.sgd(0.1), 2))": lambda: gm.chain(
        gm.clip(1.0), gm.MultiSteps(gm.sgd(0.1), 2)
    ),
    "gm.MultiSteps(4)": lambda: gm.MultiSteps(4),
    "gm.partition(rate, gm.scale(1.0), gm.scale(2.0))": lambda: gm.partition(
        rate, gm.scale(1.0), gm.scale(2.0)
    ),
    "gm.per_example_global_norm_clip(1.0, True)": lambda: gm.per_example_global_norm_clip(
        1.0, True
    ),
    "gm.masked(gm.adam(0.1), (np.array([ True]), [True, ()]))": lambda: gm.masked(
        gm.adam(0.1), (np.array([True]), [True, ()])
    ),
    "gm.inject_hyperparams(gm.scale)(2.0)": lambda: gm.inject_hyperparams(gm.scale)(2.0),
    "gm.inject_hyperparams(gm.sgd, hyperparam_dtype=np.dtype('float64'))(0.1, momentum=0.9)": (
        lambda: gm.inject_hyperparams(gm.sgd, hyperparam_dtype=np.float64)(0.1, momentum=0.9)
    ),
    "gm.with_extra_args_support(gm.scale(2.0))": lambda: gm.with_extra_args_support(gm.scale(2.0)),
    "gm.sgd(gm.join_schedules([gm.constant_schedule(1.0), rate], [3]))": lambda: gm.sgd(
        gm.join_schedules([gm.constant_schedule(1.0), rate], [3])
    ),
}


@pytest.mark.parametrize("code", CODE)
def test_code(code: str) -> None:
    assert repr(CODE[code]()) == code


def test_what_is_handed_on_keeps_its_own() -> None:
    tx = gm.chain(gm.clip(1.0))
    assert repr(gm.with_extra_args_support(tx)) == "gm.chain(gm.clip(1.0))"


def test_changed_ones_have_no_code() -> None:
    tx: Any = gm.adam(0.1)
    for other in (tx._replace(init=gm.sgd(0.1).init), gm.GradientTransformation(*tx)):
        assert repr(other).startswith("GradientTransformation")


def test_parts_that_do_not_pickle_do_not_stand_in_the_way() -> None:
    """Arguments are kept for their code alone."""
    once = iter(["mask"])
    tx = gm.inject_hyperparams(gm.adamw, once)(0.1)
    labels = functools.partial(gm.partition, {"a": gm.scale(2.0)}, {"w": "a"})()
    for each in (tx, labels):
        assert repr(pickle.loads(pickle.dumps(each))) == repr(each)
