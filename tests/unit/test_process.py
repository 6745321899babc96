"""Import, threads, environment, forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill import _core


def python(code: str, **environment: str) -> str:
    result = subprocess.run(  # noqa: S603  (the code stands in this file)
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return (result.stdout + result.stderr).strip()


def test_import_is_light() -> None:
    code = "import sys, gradmill; print([m for m in ('jax', 'optax', 'scipy') if m in sys.modules])"
    assert python(code) == "[]"


def test_importing_starts_no_thread() -> None:
    code = "import gradmill, os; print(len(os.listdir('/proc/self/task')))"
    assert python(code, OPENBLAS_NUM_THREADS="1") == "1"


def test_environment() -> None:
    show = "import gradmill; print(*list(gradmill.build_info().values())[-3:])"
    both = python(show, GRADMILL_SIMD="scalar", GRADMILL_NUM_THREADS="3")
    assert both == "scalar 3 GRADMILL_NUM_THREADS"
    rayon = python(show, RAYON_NUM_THREADS="5", GRADMILL_NUM_THREADS="")
    assert rayon.endswith("5 RAYON_NUM_THREADS")
    wrong = python(show, GRADMILL_SIMD="sse9")
    assert 'GRADMILL_SIMD: "sse9" is none of scalar, avx2, avx512' in wrong


def test_build_info() -> None:
    info = gm.build_info()
    assert (info["profile"], info["version"]) == ("release", gm.__version__)
    assert info["simd"] in ("scalar", "avx2", "avx512")


def test_thread_counts() -> None:
    gm.set_num_threads(5)
    assert gm.build_info()["threads"] == 5
    gm.set_num_threads(0)
    assert gm.build_info()["threads_from"] != "set_num_threads"
    with pytest.raises(ValueError, match="number of threads"):
        gm.set_num_threads(-1)
    with pytest.raises(ValueError, match="number of threads"), gm.num_threads(0):
        pass


def large_step() -> bytes:
    params = np.ones(600_000, np.float32)
    with gm.num_threads(3):
        gm.Optimizer(gm.adam(0.1), params).step(np.linspace(-1, 1, params.size, dtype=np.float32))
    return params.tobytes()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning")  # jax, if a test imported it
def test_fork_after_a_parallel_step() -> None:
    expected = large_step()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if large_step() == expected else 1)
    deadline = time.monotonic() + 60
    while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if done == (0, 0):
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert done == (pid, 0)


def test_other_threads_run_during_a_step() -> None:
    """The interpreter is released: another thread gets on while a step is under way."""
    params = np.ones(20_000_000, np.float32)
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


def test_one_step_at_a_time() -> None:
    params = np.ones(8_000_000, np.float32)
    opt = gm.Optimizer(gm.adam(0.1), params)
    grads = np.ones_like(params)
    errors: list[Any] = []

    def run() -> None:
        for _ in range(5):
            try:
                opt.step(grads)
            except RuntimeError as error:
                errors.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(errors) <= {"another thread is inside a step of this optimizer"}
    steps = 20 - len(errors)
    assert opt.state[0].count == steps
    alone = gm.Optimizer(gm.adam(0.1), np.ones(1, np.float32))
    for _ in range(steps):
        alone.step(np.ones(1, np.float32))
    np.testing.assert_array_equal(params, np.full_like(params, alone.params[0]))


def test_unknown_tier() -> None:
    with pytest.raises(ValueError, match="none of scalar"):
        _core.force("sse9")
