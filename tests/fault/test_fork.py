"""Forks and other processes: each child has a pool of its own, the right bits, and never hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.processes import python

if TYPE_CHECKING:
    from pathlib import Path

COMMON = """
import os, signal, sys, threading, time
import numpy as np
import gradmill as gm

def digest(seed=0):
    rng = np.random.default_rng(seed)
    params = {"w": rng.standard_normal(600_000), "b": np.ones((3, 4), np.float32)}
    tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.1))
    opt = gm.Optimizer(tx, params)
    with gm.num_threads(3):
        for _ in range(2):
            opt.step({"w": rng.standard_normal(600_000), "b": np.ones((3, 4))})
        updates, state = tx.update(params, tx.init(params), params)
    return gm.state_digest((opt.params, opt.state, updates, state))

def child_agrees(expected, child):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if child() == expected else 2
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0

if __name__ == "__main__":
    expected = digest()
"""
TIMEOUT = 1000
"""One that hangs is killed; a machine with other things to do may take long."""

pytestmark = pytest.mark.timeout(TIMEOUT + 200)


def test_fork_after_a_parallel_step() -> None:
    code = """
    assert child_agrees(expected, digest)
    print(digest() == expected)
    """
    assert python(COMMON + code, timeout=TIMEOUT) == "True"


def test_nested_forks() -> None:
    code = """
    def grandchild():
        assert digest() == expected
        return child_agrees(expected, digest)

    assert child_agrees(True, lambda: child_agrees(True, grandchild))
    assert child_agrees(True, lambda: digest() == expected and child_agrees(True, grandchild))
    print(digest() == expected)
    """
    assert python(COMMON + code, timeout=TIMEOUT) == "True"


def test_fork_while_other_threads_are_inside_steps() -> None:
    """Whatever locks those threads hold at that moment, a child needs none of them."""
    code = """
    done = threading.Event()
    large = np.zeros(3_000_000, np.float32)
    shared = gm.Optimizer(gm.chain(gm.trace(0.9), gm.clip_by_global_norm(1.0)), large)
    grads = np.ones_like(large)

    def in_place():
        while not done.is_set():
            with gm.num_threads(2):
                shared.step(grads)

    def functional():
        tx = gm.adam(0.1)
        state, params = tx.init(large), large
        while not done.is_set():
            with gm.num_threads(3):
                updates, state = tx.update(grads, state, params)

    threads = [threading.Thread(target=work) for work in (in_place, functional, functional)]
    for thread in threads:
        thread.start()
    busy = 0

    def child():
        try:
            shared.step(grads)
        except RuntimeError as error:
            assert "inside a step" in str(error), error
        return digest()

    for _ in range(15):
        time.sleep(0.003)
        assert child_agrees(expected, child)
    done.set()
    for thread in threads:
        thread.join()
    print(digest() == expected)
    """
    assert python(COMMON + code, timeout=TIMEOUT) == "True"


POOLS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

if __name__ == "__main__":
    kind = sys.argv[1]
    context = multiprocessing.get_context(kind)
    with context.Pool(2) as pool:
        assert pool.map(digest, [0] * 4) == [expected] * 4
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(digest, [0] * 4)) == [expected] * 4
    worker = context.Process(target=digest)
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    print(digest() == expected)
"""


@pytest.mark.parametrize("kind", ["fork", "forkserver", "spawn"])
def test_multiprocessing(kind: str, tmp_path: Path) -> None:
    """Workers that are not forked import the script, so it is a file."""
    script = tmp_path / "workers.py"
    script.write_text(COMMON + POOLS)
    assert python(script, kind, timeout=TIMEOUT) == "True"
