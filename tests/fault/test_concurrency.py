"""Threads of Python side by side, and interrupts."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from tests.processes import python

if TYPE_CHECKING:
    from collections.abc import Callable

F32 = np.float32
INSIDE = "another thread is inside a step of this optimizer"


def sizes(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    lengths = {"large": 300_000, "small": 20_000, "tiny": 3}
    return {name: rng.standard_normal(length).astype(F32) for name, length in lengths.items()}


def chain() -> Any:
    return gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(gm.linear_schedule(0.1, 0.0, 9)))


def in_place(seed: int) -> str:
    opt = gm.Optimizer(chain(), sizes(seed))
    for step in range(4):
        opt.step(sizes(seed + step))
    return gm.state_digest((opt.params, opt.state))


def functional(tx: Any, seed: int) -> str:
    params = sizes(seed)
    state = tx.init(params)
    for step in range(4):
        updates, state = tx.update(sizes(seed + step), state, params)
        params = gm.apply_updates(params, updates)
    return gm.state_digest((params, state))


def test_optimizers_of_many_threads() -> None:
    expected = [in_place(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(in_place, range(8))) == expected


def test_one_transformation_in_many_threads() -> None:
    tx = chain()
    expected = [functional(tx, seed) for seed in range(8)]
    assert expected == [in_place(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda seed: functional(tx, seed), range(8))) == expected


def test_other_threads_run_during_a_step() -> None:
    """The interpreter is released: another thread gets on while a step is under way."""
    params = np.ones(20_000_000, F32)
    opt = gm.Optimizer(gm.adam(0.1), params)
    inside, ticks = threading.Event(), []
    done = threading.Event()

    def tick() -> None:
        inside.set()
        while not done.is_set():
            ticks.append(time.monotonic())
            time.sleep(0)

    thread = threading.Thread(target=tick)
    thread.start()
    inside.wait()
    start = time.monotonic()
    with gm.num_threads(1):
        opt.step(np.ones_like(params))
    end = time.monotonic()
    done.set()
    thread.join()
    assert sum(start < t < end for t in ticks) > 10


CHAINS: dict[str, Callable[[], Any]] = {
    "simple": lambda: gm.adam(0.1),
    "carrying": lambda: gm.chain(gm.scale_by_adam(), gm.clip_by_global_norm(1.0)),
    "gated": lambda: gm.apply_if_finite(gm.MultiSteps(gm.adam(0.1), 2)),
    "python": lambda: gm.chain(gm.flatten(gm.trace(0.9)), gm.adam(0.1)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_one_step_at_a_time(name: str) -> None:
    """Of threads in one optimizer each steps as a whole or is told off; no step is torn or lost."""
    params = np.ones(2_000_000, F32)
    opt = gm.Optimizer(CHAINS[name](), params)
    grads = np.linspace(1, 2, params.size, dtype=F32)
    errors: list[str] = []
    reports: list[int] = []

    def run() -> None:
        for _ in range(5):
            try:
                reports.append(opt.step(grads).step)
            except RuntimeError as error:
                errors.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) + len(reports) == 20
    assert set(errors) <= {INSIDE}
    assert sorted(reports) == list(range(1, len(reports) + 1))
    alone = gm.Optimizer(CHAINS[name](), np.ones_like(params))
    for _ in reports:
        alone.step(grads)
    expected = gm.state_digest((alone.params, alone.state))
    assert gm.state_digest((opt.params, opt.state)) == expected


INTERRUPTED = """
import signal, sys, time
import numpy as np
import gradmill as gm

size, name = int(sys.argv[1]), sys.argv[2]
tx = {
    "simple": gm.adamw(0.1),
    "schedule": gm.adamw(gm.cosine_decay_schedule(0.1, 50)),
    "gated": gm.apply_if_finite(gm.inject_hyperparams(gm.adam)(gm.linear_schedule(0.1, 0.0, 50))),
    "every": gm.MultiSteps(gm.adam(0.1), 3),
    "python": gm.chain(gm.flatten(gm.trace(0.9)), gm.adam(0.1)),
}[name]
grads = {"w": np.linspace(1, 2, size, dtype=np.float32), "b": np.ones(3)}

def fresh():
    return gm.Optimizer(tx, {"w": np.ones(size, np.float32), "b": np.zeros(3)})

STEPS = 200 if size < 1000 else 120
undisturbed = fresh()
expected = [gm.state_digest((undisturbed.params, undisturbed.state))]
took = []
for _ in range(STEPS):
    began = time.perf_counter()
    undisturbed.step(grads)
    took.append(time.perf_counter() - began)
    expected.append(gm.state_digest((undisturbed.params, undisturbed.state)))
took = sorted(took)[STEPS // 2]

armed = False

def handler(*_):
    if armed:
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, handler)
rounds, interrupts = 0, 0
while interrupts <= 5:
    opt, at = fresh(), 0
    while at + 10 <= STEPS:
        rounds += 1
        try:
            armed = True
            signal.setitimer(signal.ITIMER_REAL, took * 10 * (rounds * 0.618 % 1))
            for _ in range(10):
                opt.step(grads)
            armed = False
            at += 10
        except KeyboardInterrupt:
            armed = False
            interrupts += 1
            now = gm.state_digest((opt.params, opt.state))
            assert now in expected[at : at + 11], "torn"
            at = expected.index(now, at)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert gm.state_digest((opt.params, opt.state)) == expected[at]
    # Where steps take less time than those before did, most end before they are interrupted.
    took /= 2
print("whole")
"""


@pytest.mark.parametrize("size", [100, 400_000])
@pytest.mark.parametrize("name", ["simple", "schedule", "gated", "every", "python"])
def test_interrupts(size: int, name: str) -> None:
    """A step that is interrupted ends whole or never began, and the state with it."""
    assert python(INTERRUPTED, size, name, timeout=200) == "whole"


def test_control_c_during_a_long_step() -> None:
    code = """
    import _thread, signal, threading, time
    import numpy as np
    import gradmill as gm

    # A process in the background may have been started to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    params = np.zeros(20_000_000, np.float32)
    opt = gm.Optimizer(gm.sgd(1.0), params)
    grads = np.ones_like(params)
    opt.step(grads)
    ready = threading.Event()

    def interrupt():
        ready.wait()
        time.sleep(0.002)
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with gm.num_threads(1):
        try:
            ready.set()
            while True:
                opt.step(grads)
        except KeyboardInterrupt:
            pass
    thread.join()
    assert (params == params[0]).all()
    print(opt.step(grads).step == -params[0])
    """
    assert python(code) == "True"
