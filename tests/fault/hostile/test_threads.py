"""Numbers of threads that no machine has."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import gradmill as gm
from tests.fault.hostile.inputs import CHAINS, alone, tree
from tests.trees import bits


@pytest.mark.parametrize("count", [-1, "x", 1.5, None, [2]])
def test_numbers_of_threads_that_are_none(count: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        gm.set_num_threads(count)
    with pytest.raises((ValueError, TypeError)), gm.num_threads(count):
        gm.global_norm(np.ones(3))


@pytest.mark.parametrize("threads", [16, 10**9])
def test_far_more_threads_than_elements(threads: int) -> None:
    for tx in CHAINS.values():
        opt, twin = gm.Optimizer(tx, tree()), gm.Optimizer(tx, tree())
        with gm.num_threads(threads):
            opt.step(tree(0.5))
        with gm.num_threads(1):
            twin.step(tree(0.5))
        assert bits((opt.params, opt.state)) == bits((twin.params, twin.state))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_far_more_threads_than_there_is_work_for() -> None:
    code = """
        import os
        gm.set_num_threads(10**9)
        assert gm.global_norm(np.ones(1 << 18)) == 512.0
        print(len(os.listdir("/proc/self/task")) <= 64)
    """
    assert alone(code) == "True"
