"""Large results take over the memory of earlier ones that are gone, and of no others."""

from __future__ import annotations

import copy
import ctypes
import gc
import os
import pickle
import random
import subprocess
import sys
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from tests.trees import bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGE = 100_000
"""Elements of an array that is recycled."""
SPARE = 1 << 26
"""Bytes that may be idle in any case."""


@pytest.fixture(autouse=True, scope="module")
def few_objects() -> Iterator[None]:
    """Collections of garbage need not look at what other tests have imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    gc.collect()
    gm.clear_cache()
    yield
    gc.collect()
    gm.clear_cache()


def result(value: float, size: int = LARGE, dtype: Any = np.float32) -> Any:
    """An array that the core has made, all of whose elements are ``value``."""
    return gm.apply_updates(np.zeros(size, dtype), np.full(size, value, dtype))


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_comes_back() -> None:
    first = result(1.0)
    there = address(first)
    second = result(2.0)
    assert address(second) != there
    del first
    third = result(3.0)
    assert address(third) == there
    np.testing.assert_array_equal(second, 2.0)
    np.testing.assert_array_equal(third, 3.0)


def test_what_came_last_goes_first() -> None:
    arrays = [result(float(k)) for k in range(3)]
    order = [address(array) for array in arrays]
    while arrays:
        del arrays[0]
    assert [address(array) for array in [result(float(k)) for k in range(3)]] == order[::-1]


def test_slightly_smaller_arrays_fit() -> None:
    first = result(1.0)
    there = address(first)
    del first
    assert address(result(2.0, LARGE * 9 // 10)) == there
    assert address(result(2.0, LARGE // 2, np.float64)) == there
    assert address(result(2.0, LARGE // 2)) != there
    assert address(result(2.0, LARGE + 1)) != there


def test_small_arrays_are_left_to_numpy() -> None:
    small = result(1.0, (1 << 14) - 1)
    del small
    assert gm.clear_cache() == 0
    large = result(1.0, 1 << 14)
    del large
    assert gm.clear_cache() == 1 << 16


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "slice": lambda array: array[7:11],
    "view of a view": lambda array: array[::2][3:].reshape(1, -1).T,
    "bytes": lambda array: array.view(np.uint8),
    "memoryview": memoryview,
    "buffer of a memoryview": lambda array: np.frombuffer(memoryview(array), np.float32),
    "iterator": lambda array: array.flat,
    "field": lambda array: array.view([("x", np.float32), ("y", np.float32)])["y"],
    "array protocol": lambda array: np.lib.stride_tricks.as_strided(array, (5,), (8,)),
    "pickle buffer": pickle.PickleBuffer,
    "ctypes": (ctypes.c_float * LARGE).from_buffer,
    "subclass": lambda array: array.view(np.matrix),
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_whoever_looks_at_an_array_keeps_its_memory(hold: Callable[[Any], Any]) -> None:
    array = result(1.0)
    there, holder = address(array), hold(array)
    before = np.array(holder, copy=True).tobytes()
    del array
    gc.collect()
    others = [result(float(k)) for k in range(2, 6)]
    assert there not in map(address, others)
    assert np.array(holder, copy=True).tobytes() == before
    del holder
    gc.collect()
    assert address(result(2.0)) == there


def test_an_array_in_another_thread_is_kept() -> None:
    held, done = threading.Event(), threading.Event()
    seen: list[Any] = []

    def hold(arrays: list[Any]) -> None:
        array = arrays.pop()
        held.set()
        done.wait()
        seen.append((address(array), float(array.min()), float(array.max())))

    arrays = [result(1.0)]
    there = address(arrays[0])
    thread = threading.Thread(target=hold, args=(arrays,))
    thread.start()
    held.wait()
    assert there not in [address(array) for array in [result(2.0) for _ in range(3)]]
    done.set()
    thread.join()
    assert seen == [(there, 1.0, 1.0)]


def test_results_are_ordinary_arrays() -> None:
    array = result(1.0).reshape(100, -1)
    owner = array.base
    assert owner.base is None
    assert owner.flags.owndata
    assert owner.flags.writeable
    assert owner.flags.c_contiguous
    assert address(owner) % 64 == 0
    owner.flags.writeable = False
    owner.flags.writeable = True
    array[3] += 1.0
    array.T[5] *= 2.0
    expected = np.ones((100, 1000), np.float32)
    expected[3] = 2.0
    expected.T[5] *= 2.0
    np.testing.assert_array_equal(array, expected)
    for other in (copy.deepcopy(array), pickle.loads(pickle.dumps(array)), array.copy()):
        assert not np.shares_memory(array, other)
        np.testing.assert_array_equal(other, expected)
    assert np.shares_memory(array, owner[-1:])


@pytest.mark.parametrize("size", [LARGE // 2, 2 * LARGE, 10, 0])
def test_results_can_be_resized(size: int) -> None:
    array = result(1.0)
    array.resize(size, refcheck=False)
    assert array.size == size
    np.testing.assert_array_equal(array[:LARGE], 1.0)
    np.testing.assert_array_equal(array[LARGE:], 0.0)
    np.testing.assert_array_equal(result(2.0), 2.0)
    np.testing.assert_array_equal(array[:LARGE], 1.0)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C": lambda array: array,
    "Fortran": np.asfortranarray,
    "swapped": lambda array: array.copy().transpose(1, 0, 2).reshape(array.shape),
    "middle axis first": lambda array: array.transpose(1, 0, 2).copy().transpose(1, 0, 2),
    "every other": lambda array: np.repeat(array, 2, axis=2)[..., ::2],
    "backwards": lambda array: array[::-1, :, ::-1],
    "read-only": lambda array: np.broadcast_to(array[:1], array.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_order_is_kept(layout: Callable[[Any], Any], dtype: Any) -> None:
    rng = np.random.default_rng(0)
    params = layout(rng.standard_normal((30, 40, 50)).astype(dtype))
    grads = layout(rng.standard_normal((30, 40, 50)).astype(dtype))
    tx = gm.adamw(0.1)
    first = tx.update(grads, tx.init(params), params)
    del first
    updates, state = tx.update(grads, tx.init(params), params)
    assert updates.strides == np.empty_like(params).strides
    assert state[0].mu.strides == np.empty_like(tx.init(params)[0].mu).strides
    plain = tx.update(grads.copy("C"), tx.init(params.copy("C")), params.copy("C"))
    assert bits((updates, state)) == bits(plain)
    sums = gm.apply_updates(params, updates)
    assert sums.strides == np.empty_like(params).strides
    np.testing.assert_array_equal(sums, params + updates)


def test_idle_memory_is_bounded() -> None:
    arrays = [result(1.0, 1 << 20) for _ in range(40)]
    size = arrays[0].nbytes
    del arrays[20:]
    assert gm.clear_cache() == 20 * size
    extra = [result(1.0, 1 << 20) for _ in range(80)]
    del extra
    assert gm.clear_cache() == 2 * sum(array.nbytes for array in arrays)
    del arrays
    assert gm.clear_cache() == SPARE


def test_the_oldest_idle_memory_goes_first() -> None:
    old, new = result(1.0, SPARE // 8), result(1.0, SPARE // 8 + 1)
    there = address(new)
    del old
    del new
    assert address(result(1.0, SPARE // 8 + 1)) == there
    assert gm.clear_cache() == SPARE // 2 + 4


def test_clear_cache() -> None:
    array = result(1.0)
    assert gm.clear_cache() == 0
    size = array.nbytes
    del array
    assert gm.clear_cache() == size
    assert gm.clear_cache() == 0


def test_tracemalloc_sees_what_is_in_use() -> None:
    waits = result(1.0, 1_000_000)
    del waits
    tracemalloc.start()
    try:
        array = result(2.0, 1_000_000)
        gc.collect()
        assert 4_000_000 <= tracemalloc.get_traced_memory()[0] < 5_000_000
        del array
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("seed", range(4))
def test_nothing_alive_ever_changes(seed: int) -> None:
    """Random arrays and views are kept and dropped while later steps run."""
    rng, choose = np.random.default_rng(seed), random.Random(seed)  # noqa: S311  (no secret)
    sizes = (17_000, 20_000, 20_001, 65_536, 5)
    params = [rng.standard_normal(size).astype(np.float32) for size in sizes]
    tx = gm.chain(gm.clip_by_global_norm(1.0), gm.adamw(0.01))
    expected = gm.Optimizer(tx, [param.copy() for param in params])
    state = tx.init(params)
    views: list[Callable[[Any], Any]] = [
        lambda array: array,
        lambda array: array[1:-1],
        lambda array: array[::-3],
        memoryview,
        lambda array: array.view(np.uint32).reshape(-1, 1),
    ]
    kept: list[tuple[Any, bytes]] = []
    for _ in range(60):
        grads = [rng.standard_normal(size).astype(np.float32) for size in sizes]
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)
        expected.step(grads)
        assert bits((params, state)) == bits((expected.params, expected.state))
        for array in choose.sample([*updates, *params, *state[1][0].mu, *state[1][0].nu], 4):
            view = choose.choice(views)(array)
            kept.append((view, bytes(view.tobytes())))
        del updates, array, view
        choose.shuffle(kept)
        del kept[choose.randrange(30) :]
        assert all(view.tobytes() == content for view, content in kept)


def train(seed: int, steps: int = 30) -> bytes:
    """The parameters after some steps, with results dropped here and there."""
    rng = np.random.default_rng(seed)
    params: Any = {"a": np.ones(20_000 + seed, np.float32), "b": np.ones((150, 200))}
    tx = gm.adam(0.1)
    state = tx.init(params)
    held = []
    for step in range(steps):
        grads = {key: rng.standard_normal(leaf.shape) for key, leaf in params.items()}
        updates, state = tx.update(grads, state, params)
        params = gm.apply_updates(params, updates)
        held.append(updates["a"][step:])
        del held[: -(step % 4)]
    return b"".join(leaf.tobytes() for leaf in params.values())


def test_threads() -> None:
    seeds = range(6)
    expected = [train(seed) for seed in seeds]
    found: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=lambda seed=seed: found.update({seed: train(seed)}))
        for seed in seeds
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        gm.clear_cache()
        time.sleep(0)
    assert [found[seed] for seed in seeds] == expected


def in_the_child(expected: bytes, kept: Any) -> int:
    """What a child that does as its parent did has for its exit code."""
    if train(0) != expected or not (kept == 1.0).all():
        return 2
    gm.clear_cache()
    array = result(1.0)
    size = array.nbytes
    del array
    return 0 if (gm.clear_cache(), gm.clear_cache()) == (size, 0) else 3


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning")  # jax, if a test imported it
def test_fork() -> None:
    expected, kept = train(0), result(1.0)
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            result(5.0, 30_000)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    code = in_the_child(expected, kept)
                finally:
                    os._exit(code)
            assert os.waitpid(pid, 0) == (pid, 0)
    finally:
        stop.set()
        thread.join()
    np.testing.assert_array_equal(kept, 1.0)


def test_an_error_loses_nothing() -> None:
    """Results that were made before a leaf was found to be wrong go back."""
    tx = gm.adam(0.1)
    params = {"a": np.ones(LARGE, np.float32), "b": np.ones(LARGE, np.float32)}
    updates, state = tx.update(params, tx.init(params), params)
    before = bits((updates, state))
    with pytest.raises(gm.errors.LeafValueError):
        tx.update({**params, "b": params["b"][1:]}, state, params)
    with pytest.raises(gm.errors.LeafValueError):
        gm.apply_updates(params, {**updates, "b": params["b"][1:]})
    assert bits((updates, state)) == before
    assert gm.clear_cache() == 3 * params["a"].nbytes


class Handler(ctypes.Structure):
    """``PyDataMem_Handler`` of NumPy."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("allocator", ctypes.c_void_p * 5),
    )


def test_a_memory_policy_of_the_user_stays_in_force() -> None:
    numpy: Any = np
    multiarray = (numpy._core if hasattr(np, "_core") else numpy.core).multiarray
    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    pointers = ctypes.c_void_p * 307
    table: Any = pointers.from_address(api.PyCapsule_GetPointer(multiarray._ARRAY_API, None))
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[304])
    usual = ctypes.py_object.from_address(table[306]).value
    name = ctypes.c_char_p(b"mem_handler")
    handler = Handler.from_buffer_copy(Handler.from_address(api.PyCapsule_GetPointer(usual, name)))
    handler.name = b"of_the_user"
    own = api.PyCapsule_New(ctypes.addressof(handler), name, None)
    set_handler(own)
    try:
        theirs = result(1.0)
        assert multiarray.get_handler_name() == "of_the_user"
    finally:
        set_handler(usual)
    ours = result(1.0)
    assert multiarray.get_handler_name(theirs) == "of_the_user"
    assert multiarray.get_handler_name(ours) == "gradmill"
    assert multiarray.get_handler_name() == "default_allocator"
    del theirs
    assert gm.clear_cache() == 0


def test_arrays_that_outlive_the_interpreter() -> None:
    code = """
import atexit, threading, time
import numpy as np
import gradmill as gm

def result():
    return gm.apply_updates(np.ones(100_000), np.ones(100_000))

class Late:
    def __del__(self, array=result()):
        assert array[0] == 2.0

kept, cycle, late = result(), [result()], Late()
cycle.append(cycle)
atexit.register(result)
threading.Thread(target=lambda: [result() for _ in iter(int, 1)], daemon=True).start()
time.sleep(0.05)
print("done")
"""
    done = subprocess.run(  # noqa: S603  (the code stands above)
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
