"""Schedules against optax's, and on arrays of counts."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm

SCHEDULES = {
    "constant": lambda m: m.constant_schedule(0.3),
    "linear": lambda m: m.linear_schedule(0.3, 0.1, 10),
    "linear_begin": lambda m: m.linear_schedule(0.3, 0.1, 10, 5),
    "linear_empty": lambda m: m.linear_schedule(0.3, 0.1, 0),
    "linear_negative_begin": lambda m: m.linear_schedule(0.3, 0.1, 10, -5),
    "polynomial": lambda m: m.polynomial_schedule(0.3, 0.1, 2.5, 10, 2),
    "cosine": lambda m: m.cosine_decay_schedule(0.3, 10),
    "cosine_args": lambda m: m.cosine_decay_schedule(0.3, 10, 0.1, 2.0),
    "join": lambda m: m.join_schedules(
        [m.constant_schedule(0.5), m.linear_schedule(0.5, 0.0, 4), m.constant_schedule(1.0)], [3, 9]
    ),
    "warmup": lambda m: m.warmup_cosine_decay_schedule(0.0, 1.0, 5, 20, 0.1, 1.5),
    "warmup_zero_peak": lambda m: m.warmup_cosine_decay_schedule(0.1, 0.0, 5, 20),
    "warmup_none": lambda m: m.warmup_cosine_decay_schedule(0.5, 1.0, 0, 20),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore")  # optax logs about empty transitions
def test_same_values_as_optax(name: str) -> None:
    ours = SCHEDULES[name](gm)
    with jax.enable_x64(True):
        theirs = SCHEDULES[name](optax)
        expected = [float(theirs(count)) for count in range(30)]
    np.testing.assert_allclose(
        [ours(count) for count in range(30)], expected, rtol=1e-6, atol=1e-12
    )
    np.testing.assert_array_equal(ours(np.arange(30)), [ours(count) for count in range(30)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: gm.cosine_decay_schedule(1.0, 0),
        lambda: gm.warmup_cosine_decay_schedule(0.0, 1.0, 5, 5),
        lambda: gm.join_schedules([gm.constant_schedule(1.0)], [3]),
        lambda: gm.join_schedules([gm.constant_schedule(1.0)] * 3, [3, 1]),
    ],
)
def test_wrong_lengths_raise(make: Any) -> None:
    with pytest.raises(ValueError, match="schedule"):
        make()
