"""Memory that runs out, lies in files, is very large, or would leak."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from tests.processes import python
from tests.trees import bits

if TYPE_CHECKING:
    from pathlib import Path

F32 = np.float32

SHORT_OF_MEMORY = """
import resource
import numpy as np
import gradmill as gm

SIZE = 8_000_000
tx = gm.chain(gm.trace(0.9), gm.clip_by_global_norm(1.0), gm.adam(0.1))
grads = {"a": np.ones(3), "b": np.linspace(1, 2, SIZE, dtype=np.float32)}

def short_of_memory(call):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 16_000_000, before[1]))
    try:
        call()
    except MemoryError:
        return True
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    return False

def zeros():
    return {"a": np.zeros(3), "b": np.zeros(SIZE, np.float32)}

opt, other, params = gm.Optimizer(tx, zeros()), gm.Optimizer(tx, zeros()), zeros()
opt.step(grads), other.step(grads)
state = tx.init(params)
digests = [gm.state_digest(tree) for tree in ((opt.params, opt.state), (params, state))]
gm.clear_cache()
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_out_of_memory(threads: int) -> None:
    """What a step needs is had before it writes: new arrays, and what carries an update on."""
    code = """
assert short_of_memory(lambda: tx.update(grads, state, params))
assert short_of_memory(lambda: gm.apply_updates(params, grads))
fresh = gm.Optimizer(tx, zeros())
before = gm.state_digest((fresh.params, fresh.state))
assert short_of_memory(lambda: fresh.step(grads))
assert gm.state_digest((fresh.params, fresh.state)) == before
after = [gm.state_digest(tree) for tree in ((opt.params, opt.state), (params, state))]
assert after == digests
# Its first step has made what a step needs.
assert not short_of_memory(lambda: opt.step(grads))
other.step(grads)
assert opt.step(grads) == other.step(grads)
same = gm.state_digest((other.params, other.state))
print(gm.state_digest((opt.params, opt.state)) == same)
"""
    assert python(SHORT_OF_MEMORY + code, GRADMILL_NUM_THREADS=str(threads)) == "True"


def test_parameters_in_a_file(tmp_path: Path) -> None:
    """Larger than memory, for example: what a step writes goes to the file."""
    shape = (700, 500)
    in_file: Any = np.memmap(tmp_path / "params", F32, "w+", shape=shape)
    in_file[...] = 1
    in_memory = np.ones(shape, F32)
    tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1))
    opt, other = gm.Optimizer(tx, in_file), gm.Optimizer(tx, in_memory)
    for step in range(3):
        grads = np.memmap(tmp_path / "grads", F32, "w+", shape=shape)
        grads[...] = np.linspace(step, 1, in_memory.size).reshape(shape)
        assert opt.step(grads) == other.step(np.array(grads))
    assert opt.params is in_file
    in_file.flush()
    stored = np.fromfile(tmp_path / "params", F32).reshape(shape)
    assert bits(stored) == bits(in_memory)
    updates, _ = tx.update(in_file, tx.init(in_file), in_file)
    expected, _ = tx.update(in_memory, tx.init(in_memory), in_memory)
    assert bits(updates) == bits(expected)


def test_state_in_a_file(tmp_path: Path) -> None:
    """A state may be memory-mapped as well, to be read."""
    tx, params = gm.adam(0.1), np.ones(1000)
    _, state = tx.update(params, tx.init(params), params)
    np.save(tmp_path / "mu.npy", state[0].mu)
    mapped = np.load(tmp_path / "mu.npy", mmap_mode="r")
    state_in_file = (state[0]._replace(mu=mapped), *state[1:])
    found = tx.update(params, state_in_file, params)
    assert gm.state_digest(found) == gm.state_digest(tx.update(params, state, params))


@pytest.mark.skipif("GRADMILL_HUGE" not in os.environ, reason="takes 10 GB and a minute")
def test_more_elements_than_31_bits_count(tmp_path: Path) -> None:
    size = 2**31 + 100_003
    params: Any = np.memmap(tmp_path / "params", np.float16, "w+", shape=(size,))
    grads: Any = np.broadcast_to(np.float16(0), (size,)).view()
    opt = gm.Optimizer(gm.chain(gm.clip_by_global_norm(1e9), gm.scale(-1.0)), params)
    assert opt.step(grads).global_norm == 0
    grads = np.memmap(tmp_path / "grads", np.float16, "w+", shape=(size,))
    places = [0, 2**31 - 1, 2**31, size - 1]
    grads[places] = [1, 2, 3, 4]
    assert opt.step(grads).global_norm == pytest.approx(30**0.5)
    np.testing.assert_array_equal(params[places], [-1, -2, -3, -4])
    assert all(not params[start : start + 1000].any() for start in (1, 2**31 - 2000, 2**31 + 1))
    assert gm.global_norm(params) == pytest.approx(30**0.5)


LEAK = """
import resource, sys
import numpy as np
import gradmill as gm

tx = {
    "simple": gm.adamw(0.1),
    "carrying": gm.chain(gm.scale_by_adam(), gm.clip_by_global_norm(1.0)),
    "gated": gm.apply_if_finite(gm.MultiSteps(gm.adam(gm.linear_schedule(0.1, 0.0, 9)), 2)),
    "units": gm.chain(gm.centralize(), gm.lamb(0.1), gm.add_noise(0.1, 0.5, 1), gm.zero_nans()),
}[sys.argv[1]]
params = {"w": np.ones((3, 4), np.float32), "b": np.zeros(4), "none": None}
grads = {"w": np.ones((3, 4), ">f4"), "b": np.ones(4), "none": None}
opt, state = gm.Optimizer(tx, params), tx.init(params)
bad = {"w": np.ones((3, 4), np.float32), "b": np.ones(5), "none": None}

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def steps(count):
    global state
    for step in range(count):
        opt.step(grads)
        if step % 10 == 0:
            updates, state = tx.update(grads, state, params)
            gm.apply_updates(params, updates)
            try:
                opt.step(bad)
            except ValueError:
                pass
            else:
                raise AssertionError

steps(int(sys.argv[2]) // 10)
before = resident()
steps(int(sys.argv[2]))
print(resident() - before)
"""


@pytest.mark.parametrize("name", ["simple", "carrying", "gated", "units"])
def test_nothing_leaks(name: str) -> None:
    """Each step, with its errors and conversions, leaves memory as it was."""
    steps = int(os.environ.get("GRADMILL_LEAK_STEPS", "20000"))
    assert int(python(LEAK, name, steps, timeout=280)) < 500_000
