"""Threads of Python side by side, and interrupts."""

from __future__ import annotations

import sys
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
    """The interpreter is released: another thread gets on while a step is under way.

    Threads take turns only where one gives the interpreter up, as a step then must have done.
    """
    params = np.ones(2_000_000, F32)
    grads = np.ones_like(params)
    opt = gm.Optimizer(gm.adam(0.1), params)
    inside, done = threading.Event(), threading.Event()
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        inside.set()
        while not done.is_set():
            ticks += 1
            time.sleep(0)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e6)
    thread = threading.Thread(target=tick)
    try:
        thread.start()
        inside.wait()
        before = ticks
        # A machine with other things to do may not run the thread during the first of them.
        for _ in range(1000):
            opt.step(grads)
            if ticks > before:
                break
        assert ticks > before
    finally:
        sys.setswitchinterval(usual)
        done.set()
        thread.join()


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


OPTIMIZERS = """
import signal, sys
import numpy as np
import gradmill as gm

tx = {
    "simple": gm.adamw(0.1),
    "schedule": gm.adamw(gm.cosine_decay_schedule(0.1, 50)),
    "gated": gm.apply_if_finite(gm.inject_hyperparams(gm.adam)(gm.linear_schedule(0.1, 0.0, 50))),
    "every": gm.MultiSteps(gm.adam(0.1), 3),
    "python": gm.chain(gm.flatten(gm.trace(0.9)), gm.adam(0.1)),
}[sys.argv[1]]
size = int(sys.argv[2])
grads = {"w": np.linspace(1, 2, size, dtype=np.float32), "b": np.ones(3)}

def after(steps):
    opt = gm.Optimizer(tx, {"w": np.ones(size, np.float32), "b": np.zeros(3)})
    for _ in range(steps):
        opt.step(grads)
    return opt

def digest(opt):
    return gm.state_digest((opt.params, opt.state))

undisturbed = after(0)
expected = [digest(undisturbed)]
for _ in range(60):
    undisturbed.step(grads)
    expected.append(digest(undisturbed))
"""
EVERYWHERE = """
left = 0

def interrupt(frame, event, _):
    # Where the interpreter looks for signals: as a function begins, and behind a call.
    global left
    if event in ("call", "c_return") and frame.f_globals is not globals():
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

def is_interrupted(opt):
    try:
        sys.setprofile(interrupt)
        opt.step(grads)
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False

for steps in range(4):
    place = left = 1
    while is_interrupted(opt := after(steps)):
        now = digest(opt)
        assert now in expected[steps : steps + 2], f"torn at place {place} of step {steps}"
        taken = expected.index(now)
        for later in (1, 2):
            opt.step(grads)
            assert digest(opt) == expected[taken + later], f"place {place} of step {steps}"
        place += 1
        left = place
    assert place > 1
print("whole")
"""
AT_ANY_TIME = """
armed = False

def handler(*_):
    if armed:
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, handler)
for delay in np.geomspace(2e-6, 2e-1, 150):
    opt, at = after(0), 0
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, delay)
        for _ in range(40):
            opt.step(grads)
        armed = False
    except KeyboardInterrupt:
        armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    now = digest(opt)
    assert now in expected, "torn"
    opt.step(grads)
    assert digest(opt) == expected[expected.index(now) + 1]
print("whole")
"""
PATIENT = pytest.mark.timeout(1200)
"""For processes that may have to share the machine."""
each_way = pytest.mark.parametrize("name", ["simple", "schedule", "gated", "every", "python"])


@PATIENT
@each_way
def test_interrupts_everywhere(name: str) -> None:
    """A step that is interrupted ends whole or never began, and the state with it."""
    assert python(OPTIMIZERS + EVERYWHERE, name, 100, timeout=1000) == "whole"


@pytest.mark.full
@PATIENT
@pytest.mark.parametrize("size", [100, 400_000])
@each_way
def test_interrupts_at_any_time(name: str, size: int) -> None:
    """Also inside the core; nothing depends on how many come in time."""
    assert python(OPTIMIZERS + AT_ANY_TIME, name, size, timeout=1000) == "whole"


@PATIENT
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
    assert python(code, timeout=1000) == "True"
