"""Arrays whose layout another thread assigns while steps run over them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from gradmill.errors import LeafValueError

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, COLUMNS = 1 << 9, 1 << 8
"""Enough elements that the interpreter is released, and helpers are woken."""


def strided(value: float, order: Any = "C") -> Any:
    """Every other column of an array."""
    return np.full((ROWS, 2 * COLUMNS), value, order=order)[:, ::2]


def reshaping(array: Any) -> Callable[[], None]:
    """Assigns the same shape in other numbers of axes, each of which frees the one before."""
    shapes = [(ROWS, COLUMNS), (ROWS, 1, COLUMNS), (1, ROWS, 1, COLUMNS), (ROWS // 2, 2, COLUMNS)]

    def assign() -> None:
        for shape in shapes:
            array.shape = shape

    return assign


def stepping(array: Any) -> Callable[[], None]:
    """Assigns other strides, and those it had."""
    own = array.strides

    def assign() -> None:
        array.strides = (0, 0)
        array.strides = own

    return assign


@pytest.mark.parametrize(
    ("which", "change"),
    [
        ("param", reshaping),
        ("param", stepping),
        ("gradient", reshaping),
        ("gradient", stepping),
        ("state", reshaping),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_layout_assigned_during_steps(which: str, change: Any) -> None:
    """Each step goes over the layout that it has checked, or is refused, and no other byte."""
    params, grads = strided(0.0), strided(1.0)
    opt = gm.Optimizer(gm.chain(gm.trace(0.0), gm.scale(-1.0)), params)
    between = params.base[:, 1::2]
    target = {"param": params, "gradient": grads, "state": opt.state[0].trace}[which]
    assign: Callable[[], None] = change(target)
    done = threading.Event()

    def disturb() -> None:
        while not done.is_set():
            assign()

    thread = threading.Thread(target=disturb)
    thread.start()
    taken = refused = 0
    try:
        for _ in range(300):
            try:
                opt.step(grads)
                taken += 1
            except LeafValueError:
                refused += 1
    finally:
        done.set()
        thread.join()
    assert taken + refused == 300
    assert not between.any()
    assert (params == -taken).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_count_made_something_else_by_a_schedule() -> None:
    def schedule(count: int) -> float:
        if count:
            opt.state[0].count.flags.writeable = False
        return 1.0

    opt = gm.Optimizer(gm.chain(gm.scale_by_schedule(schedule), gm.trace(0.9)), np.zeros(3))
    opt.step(np.ones(3))
    before = opt.params.copy()
    with pytest.raises(LeafValueError, match="read-only"):
        opt.step(np.ones(3))
    np.testing.assert_array_equal(opt.params, before)


def test_an_array_changed_while_others_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy is asked whether two arrays share memory, and may run any code before it answers."""
    memory = np.zeros(12)
    params = {"a": np.zeros(4), "b": memory[0:9:4]}
    opt = gm.Optimizer(gm.sgd(1.0), params)
    asked = []

    def shares(*arrays: Any) -> bool:
        asked.append(arrays)
        params["a"].flags.writeable = False
        return False

    monkeypatch.setattr(np, "shares_memory", shares)
    with pytest.raises(LeafValueError, match=r"params\['a'\]: was .* made read-only"):
        opt.step({"a": np.ones(4), "b": memory[3:10:3]})
    assert len(asked) == 1
    assert not params["a"].any()
    assert not memory.any()
