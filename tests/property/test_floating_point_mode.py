"""No bit depends on the floating-point mode of the calling thread, and a step leaves that alone."""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from tests.cases import CASES
from tests.trees import copy_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.cases import Case

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or sys.platform == "win32",
    reason="the functions that set the mode are machine code of x86-64, in pages as Unix has them",
)

DEFAULT = 0x1F80
MODES = {
    "flush_to_zero": 0x8000 | DEFAULT,
    "denormals_are_zero": 0x0040 | DEFAULT,
    "fast_math": 0x8040 | DEFAULT,
    "round_down": 0x2000 | DEFAULT,
    "round_up": 0x4000 | DEFAULT,
    "round_to_zero_and_flush": 0xE040 | DEFAULT,
}
FLAGS = 0x3F
STEPS = 3
LONG = 1 << 18
"""Elements from which on helpers take part."""


class Register:
    """MXCSR of the thread that asks."""

    def __init__(self) -> None:
        # mov [rsp-4], edi; ldmxcsr [rsp-4]; ret -- stmxcsr [rsp-4]; mov eax, [rsp-4]; ret
        load = bytes.fromhex("897c24fc 0fae5424fc c3")
        store = bytes.fromhex("0fae5c24fc 8b4424fc c3")
        flags = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self.page = mmap.mmap(-1, mmap.PAGESIZE, prot=flags)
        self.page.write(load.ljust(16, b"\xcc") + store)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.page))
        self.load: Callable[[int], None] = ctypes.CFUNCTYPE(None, ctypes.c_uint32)(start)
        self.store: Callable[[], int] = ctypes.CFUNCTYPE(ctypes.c_uint32)(start + 16)

    @contextmanager
    def holding(self, mode: int) -> Iterator[None]:
        before = self.store()
        self.load(mode)
        try:
            yield
            assert self.store() & ~FLAGS == mode
        finally:
            self.load(before)


@pytest.fixture(scope="module")
def register() -> Register:
    try:
        return Register()
    except OSError as error:
        pytest.skip(f"no memory may be executed here: {error}")


def tree(seed: int, long: int) -> dict[str, Any]:
    """Numbers of all sizes, subnormal ones among them."""
    rng = np.random.default_rng(seed)

    def leaf(*shape: int) -> Any:
        exponents = rng.choice([0, 0, 0, -20, -36, -39, -44], shape)
        return np.asarray(rng.normal(size=shape) * 10.0**exponents, np.float32)

    leaves = {"bias": leaf(5), "conv": leaf(2, 3, 2, 2), "empty": leaf(0, 3), "none": None}
    return {**leaves, "kernel": leaf(long // 7 + 1, 7), "scalar": leaf()}


@functools.cache
def long_trees() -> tuple[Any, list[Any]]:
    """Parameters and gradients, which nobody writes to."""
    return tree(0, LONG), [tree(step, LONG) for step in range(1, STEPS)]


def functional(case: Case, params: Any, grads: list[Any]) -> Any:
    """What all steps give."""
    tx = case.make(gm)
    state, seen = tx.init(params), []
    for grad in grads:
        updates, state = tx.update(grad, state, params)
        params = gm.apply_updates(params, updates)
        seen.append((updates, state, params))
    return seen


def in_place(case: Case, params: Any, grads: list[Any], threads: int) -> Any:
    """What is left in the end."""
    gm.set_num_threads(threads)
    opt = gm.Optimizer(case.make(gm), copy_tree(params))
    for grad in grads:
        opt.step(grad)
    return opt.state, opt.params


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_small_trees(case: Case, register: Register) -> None:
    params, grads = tree(0, 63), [tree(step, 63) for step in range(1, STEPS + 1)]
    expected = gm.state_digest(functional(case, params, grads))
    in_place_expected = gm.state_digest(in_place(case, params, grads, 1))
    for name, mode in MODES.items():
        with register.holding(mode):
            made = functional(case, params, grads)
            left = in_place(case, params, grads, 1)
        assert gm.state_digest(made) == expected, name
        assert gm.state_digest(left) == in_place_expected, name


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        # One thread in any mode has the small trees.
        (["round_to_zero_and_flush"], [3]),
        pytest.param(MODES, [1, 3], marks=pytest.mark.full),
    ],
    ids=["one", "all"],
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_threads(case: Case, names: Iterable[str], counts: list[int], register: Register) -> None:
    params, grads = long_trees()
    expected = gm.state_digest(in_place(case, params, grads, 1))
    for name in names:
        for threads in counts:
            with register.holding(MODES[name]):
                left = in_place(case, params, grads, threads)
            assert gm.state_digest(left) == expected, (name, threads)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "global_norm": gm.global_norm,
    "per_example_global_norm_clip": lambda grads: gm.per_example_global_norm_clip(grads, 1.0),
    "per_example_layer_norm_clip": lambda grads: gm.per_example_layer_norm_clip(grads, 1.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, register: Register) -> None:
    given = {"w": tree(3, LONG)["kernel"], "b": tree(4, LONG)["kernel"][:, :1]}
    expected = gm.state_digest(FUNCTIONS[name](given))
    for mode in MODES.values():
        with register.holding(mode):
            made = FUNCTIONS[name](given)
        assert gm.state_digest(made) == expected, mode
