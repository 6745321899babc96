"""Cycles of optimizers and schedules are collected; what the core holds of a chain pickles."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill import _core

CHAINS: dict[str, Any] = {
    "in place": gm.sgd,
    "several ops": lambda schedule: gm.chain(gm.adam(0.1), gm.scale_by_schedule(schedule)),
    "kept by the host": lambda schedule: gm.apply_if_finite(gm.sgd(schedule)),
    "injected": gm.inject_hyperparams(gm.sgd),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_schedule_that_refers_to_its_optimizer_is_collected(name: str) -> None:
    class Schedule:
        opt: Any = None

        def __call__(self, count: Any) -> float:
            return 0.1 if self.opt is not None else 1.0

    schedule = Schedule()
    schedule.opt = gm.Optimizer(CHAINS[name](schedule), np.ones(3))
    schedule.opt.step(np.ones(3))
    gone = weakref.ref(schedule)
    del schedule
    gc.collect()
    assert gone() is None


def test_an_optimizer_in_use_is_not_collected() -> None:
    opt = gm.Optimizer(gm.adam(lambda count: 0.1 / (count + 1)), np.ones(3))
    opt.step(np.ones(3))
    gc.collect()
    assert opt.step(np.ones(3)).step == 2


def decay(count: int) -> float:
    return 1.0 / (count + 1)


def by_pickle(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("again", [copy.deepcopy, by_pickle])
def test_scalars_pickle(again: Any) -> None:
    scalars = _core.Scalars([0.5, _core.Count(), decay])
    for count in (0, 7, 1000):
        assert again(scalars)(count) == scalars(count)
