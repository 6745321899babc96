"""Transformations are shared by threads, and so is what they remember."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from tests.rows import each_row
from tests.trees import random_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

THREADS = 6


@pytest.fixture(autouse=True)
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can, and may do so at the end of each line."""
    usual = sys.getswitchinterval(), threading.gettrace()
    sys.setswitchinterval(1e-6)
    threading.settrace(follow)
    yield
    sys.setswitchinterval(usual[0])
    threading.settrace(usual[1])


def follow(frame: FrameType, event: str, argument: object) -> Any:
    """Let the interpreter look up at each line of the package."""
    return follow if "gradmill" in frame.f_code.co_filename else None


def side_by_side(run: Callable[[int], None]) -> None:
    faults: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            run(number)
        except BaseException as fault:  # noqa: BLE001  (an assertion, above all)
            faults.append(fault)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_injected_hyperparameters() -> None:
    """Each thread has a rate of its own in its state, and gets the step that it asked for."""
    tx = gm.inject_hyperparams(gm.sgd)(1.0)

    def run(number: int) -> None:
        state = tx.init(np.zeros(1))
        state.hyperparams["learning_rate"] = rate = 1.0 + number
        for _ in range(600):
            updates, state = tx.update(np.ones(1), state)
            assert updates[0] == -rate, (updates, rate)

    side_by_side(run)


@each_row("adamw", "partition", "multi_steps_skip", "inject_hyperparams", "flatten")
def test_first_use(case: Any) -> None:
    """Whatever is made at first use may be made several times, which must make no difference."""

    def run_of(tx: Any, seed: int) -> str:
        params = random_tree(seed)
        state = tx.init(params)
        for step in range(2):
            updates, state = tx.update(random_tree(seed + step), state, params)
        return gm.state_digest((updates, state))

    alone = [run_of(case.make(gm), seed) for seed in range(THREADS)]
    for _ in range(3):
        tx = case.make(gm)

        def run(number: int, tx: Any = tx) -> None:
            assert run_of(tx, number) == alone[number]

        side_by_side(run)
