"""The schedule of three parts against its formula, at its boundaries, and in programs of JAX."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradmill as gm

if TYPE_CHECKING:
    from collections.abc import Callable

RESTS: dict[str, Callable[[float], float]] = {
    "linear": lambda x: 1 - x,
    "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
    "sqrt": lambda x: 1 - math.sqrt(x),
}
SHAPES = [*RESTS, "exponential"]
each_shape = pytest.mark.parametrize("shape", SHAPES)


def schedule_of(shape: str, warmup: int = 4, stable: int = 5, decay: int = 6) -> Any:
    return gm.warmup_stable_decay_schedule(0.8, warmup, stable, decay, 0.1, 0.02, shape)


def formula(shape: str, warmup: int, stable: int, decay: int, count: int) -> float:
    if count < warmup:
        return 0.1 + (0.8 - 0.1) * count / warmup
    if count <= warmup + stable:
        return 0.8
    x = min((count - warmup - stable) / decay, 1)
    if shape == "exponential":
        return float(0.8 * (0.02 / 0.8) ** x)
    return float(0.02 + (0.8 - 0.02) * RESTS[shape](x))


@each_shape
@pytest.mark.parametrize("lengths", [(4, 5, 6), (0, 5, 6), (4, 0, 6), (0, 0, 1), (1, 1, 1)])
def test_the_formula(shape: str, lengths: tuple[int, int, int]) -> None:
    schedule = schedule_of(shape, *lengths)
    counts = range(sum(lengths) + 4)
    expected = [formula(shape, *lengths, count) for count in counts]
    np.testing.assert_allclose([schedule(count) for count in counts], expected, rtol=1e-14)
    np.testing.assert_array_equal(schedule(np.arange(len(counts))), [*map(schedule, counts)])


@each_shape
def test_boundaries_are_exact(shape: str) -> None:
    """First and last step, and both ends of the stable part, to the last bit."""
    schedule = schedule_of(shape)
    assert schedule(0) == 0.1
    assert schedule(3) < 0.8
    assert [schedule(count) for count in range(4, 10)] == [0.8] * 6
    assert 0.02 < schedule(10) < 0.8
    assert schedule(14) > 0.02
    assert [schedule(count) for count in (15, 16, 10**9, 2**31 - 1, math.inf)] == [0.02] * 5


@each_shape
def test_it_falls_steadily(shape: str) -> None:
    values = [schedule_of(shape, 0, 0, 50)(count) for count in range(51)]
    assert all(after < before for before, after in pairwise(values))


def test_without_a_fall_the_peak_stays() -> None:
    schedule = schedule_of("linear", 2, 3, 0)
    assert [schedule(count) for count in (0, 2, 5, 6, 10**6)] == [0.1, 0.8, 0.8, 0.8, 0.8]


@each_shape
def test_in_a_program(shape: str) -> None:
    schedule = schedule_of(shape)
    counts = jnp.arange(20, dtype=jnp.int32)
    expected = [schedule(count) for count in range(20)]
    values = jax.jit(schedule)(counts)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(schedule))(counts), expected, rtol=1e-6)

    def last(peak: Any) -> Any:
        return gm.warmup_stable_decay_schedule(peak, 4, 5, 6, 0.1, 0.02, shape)(jnp.int32(9))

    assert jax.grad(last)(0.8) == 1.0


@each_shape
def test_an_optimizer_follows_it(shape: str) -> None:
    schedule = schedule_of(shape)
    opt = gm.Optimizer(gm.sgd(schedule), np.zeros(1))
    for count in range(18):
        before = opt.params.copy()
        opt.step(np.ones(1))
        np.testing.assert_allclose(before - opt.params, schedule(count), rtol=1e-12)
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule
    assert repr(again) == f"gm.warmup_stable_decay_schedule(0.8, 4, 5, 6, 0.1, 0.02, {shape!r})"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, -1, 2, 2), "warmup_steps must not be negative"),
        ((1.0, 1, -2, 2), "stable_steps must not be negative"),
        ((1.0, 1, 2, -2), "decay_steps must not be negative"),
        ((1.0, 1, 2, 2, 0.0, 0.0, "cubic"), "decay must be one of linear, cosine"),
        ((1.0, 1, 2, 2, 0.0, 0.0, "exponential"), "needs positive values"),
        ((math.nan, 1, 2, 2), "peak_value"),
    ],
)
def test_wrong_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gm.warmup_stable_decay_schedule(*arguments)
