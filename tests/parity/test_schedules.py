"""Schedules against optax's, and on arrays of counts."""

from __future__ import annotations

import math
import pickle
from typing import Any

import jax
import ml_dtypes
import numpy as np
import optax
import pytest

import gradmill as gm

CYCLE = {"init_value": 0.1, "peak_value": 1.0, "warmup_steps": 2, "decay_steps": 7}

SCHEDULES: dict[str, Any] = {
    "constant": lambda m: m.constant_schedule(0.3),
    "linear": lambda m: m.linear_schedule(0.3, 0.1, 10),
    "linear_begin": lambda m: m.linear_schedule(0.3, 0.1, 10, 5),
    "linear_empty": lambda m: m.linear_schedule(0.3, 0.1, 0),
    "linear_negative_begin": lambda m: m.linear_schedule(0.3, 0.1, 10, -5),
    "polynomial_negative": lambda m: m.polynomial_schedule(0.3, 0.1, -1.5, 10, 2),
    "cosine_negative": lambda m: m.cosine_decay_schedule(0.3, 10, 0.1, -0.5),
    "polynomial": lambda m: m.polynomial_schedule(0.3, 0.1, 2.5, 10, 2),
    "cosine": lambda m: m.cosine_decay_schedule(0.3, 10),
    "cosine_args": lambda m: m.cosine_decay_schedule(0.3, 10, 0.1, 2.0),
    "join": lambda m: m.join_schedules(
        [m.constant_schedule(0.5), m.linear_schedule(0.5, 0.0, 4), m.constant_schedule(1.0)], [3, 9]
    ),
    "warmup": lambda m: m.warmup_cosine_decay_schedule(0.0, 1.0, 5, 20, 0.1, 1.5),
    "warmup_zero_peak": lambda m: m.warmup_cosine_decay_schedule(0.1, 0.0, 5, 20),
    "warmup_none": lambda m: m.warmup_cosine_decay_schedule(0.5, 1.0, 0, 20),
    "piecewise": lambda m: m.piecewise_constant_schedule(0.3, {5: 0.5, 12: 0.1, 20: 4.0}),
    "piecewise_unsorted": lambda m: m.piecewise_constant_schedule(0.3, {12: 0.0, 5: 0.5}),
    "piecewise_at_zero": lambda m: m.piecewise_constant_schedule(0.3, {0: 0.5, -4: 0.5}),
    "piecewise_none": lambda m: m.piecewise_constant_schedule(0.3),
    "piecewise_empty": lambda m: m.piecewise_constant_schedule(0.3, {}),
    "exponential": lambda m: m.exponential_decay(0.3, 7, 0.5),
    "exponential_begin": lambda m: m.exponential_decay(0.3, 7, 0.5, 4),
    "exponential_negative_begin": lambda m: m.exponential_decay(0.3, 7, 0.5, -4),
    "exponential_stairs": lambda m: m.exponential_decay(0.3, 7, 0.5, 4, staircase=True),
    "exponential_floor": lambda m: m.exponential_decay(0.3, 7, 0.5, end_value=0.1),
    "exponential_floor_above": lambda m: m.exponential_decay(0.3, 7, 0.5, 4, end_value=0.5),
    "exponential_ceiling": lambda m: m.exponential_decay(0.3, 7, 1.5, end_value=0.7),
    "exponential_ceiling_below": lambda m: m.exponential_decay(0.3, 7, 1.0, 4, end_value=0.1),
    "exponential_empty": lambda m: m.exponential_decay(0.3, 0, 0.5, end_value=0.5),
    "exponential_zero_rate": lambda m: m.exponential_decay(0.3, 7, 0.0, end_value=0.5),
    "exponential_negative_rate": lambda m: m.exponential_decay(0.3, 7, -0.5),
    "exponential_flip": lambda m: m.exponential_decay(0.3, 7, -0.5, 2, staircase=True),
    "interpolate_linear": lambda m: m.piecewise_interpolate_schedule(
        "linear", 0.3, {5: 2.0, 12: 0.1, 20: 4.0}
    ),
    "interpolate_cosine": lambda m: m.piecewise_interpolate_schedule(
        "cosine", 0.3, {12: 0.1, 5: 2.0, 20: 0.0}
    ),
    "interpolate_at_zero": lambda m: m.piecewise_interpolate_schedule(
        "linear", 0.3, {0: 2.0, 9: 3.0}
    ),
    "interpolate_from_negative": lambda m: m.piecewise_interpolate_schedule(
        "cosine", 0.3, {-3: 2.0, 9: 3.0}
    ),
    "interpolate_all_negative": lambda m: m.piecewise_interpolate_schedule(
        "linear", 0.3, {-3: 2.0}
    ),
    "interpolate_none": lambda m: m.piecewise_interpolate_schedule("linear", 0.3),
    "onecycle_linear": lambda m: m.linear_onecycle_schedule(20, 1.0),
    "onecycle_linear_args": lambda m: m.linear_onecycle_schedule(20, 1.0, 0.4, 0.7, 10.0, 50.0),
    "onecycle_linear_merged": lambda m: m.linear_onecycle_schedule(20, 1.0, 0.5, 0.5),
    "onecycle_linear_merged_end": lambda m: m.linear_onecycle_schedule(20, 1.0, 0.5, 1.0),
    "onecycle_linear_reversed": lambda m: m.linear_onecycle_schedule(20, 1.0, 0.7, 0.4),
    "onecycle_linear_short": lambda m: m.linear_onecycle_schedule(1, 1.0),
    "onecycle_cosine": lambda m: m.cosine_onecycle_schedule(20, 1.0),
    "onecycle_cosine_args": lambda m: m.cosine_onecycle_schedule(20, 1.0, 0.4, 10.0, 50.0),
    "onecycle_cosine_merged": lambda m: m.cosine_onecycle_schedule(20, 1.0, 1.0),
    "onecycle_cosine_short": lambda m: m.cosine_onecycle_schedule(1, 1.0),
    "warmup_constant": lambda m: m.warmup_constant_schedule(0.1, 1.0, 5),
    "warmup_constant_none": lambda m: m.warmup_constant_schedule(0.1, 1.0, 0),
    "warmup_exponential": lambda m: m.warmup_exponential_decay_schedule(0.1, 1.0, 5, 7, 0.5),
    "warmup_exponential_args": lambda m: m.warmup_exponential_decay_schedule(
        0.1, 1.0, 5, 7, 0.5, 3, True, 0.3
    ),
    "warmup_exponential_none": lambda m: m.warmup_exponential_decay_schedule(0.1, 1.0, 0, 7, 2.0),
    "sgdr": lambda m: m.sgdr_schedule([CYCLE, {**CYCLE, "decay_steps": 14, "end_value": 0.2}]),
    "sgdr_once": lambda m: m.sgdr_schedule(iter([CYCLE])),
}
COUNTS = [*range(-8, 30), 0.5, 4.75, 19.5]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore")  # optax logs about empty transitions
def test_same_values_as_optax(name: str) -> None:
    ours = SCHEDULES[name](gm)
    with jax.enable_x64(True):
        theirs = SCHEDULES[name](optax)
        expected = [float(theirs(count)) for count in COUNTS]
    values = [ours(count) for count in COUNTS]
    np.testing.assert_allclose(values, expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(ours(np.array(COUNTS)), values)


@pytest.mark.parametrize("name", SCHEDULES)
def test_pickled_is_equal(name: str) -> None:
    schedule = SCHEDULES[name](gm)
    assert pickle.loads(pickle.dumps(schedule)) == schedule


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_count_of_any_dtype_is_that_number(name: str) -> None:
    schedule = SCHEDULES[name](gm)
    counts = [0, 2, 7, 100]
    expected = [schedule(count) for count in counts]
    floats = (np.float16, ml_dtypes.bfloat16, np.float32)
    for dtype in (np.uint8, np.int8, np.uint32, np.int64, *floats):
        values = [schedule(dtype(count)) for count in counts]
        assert all(isinstance(value, float) for value in values)
        np.testing.assert_array_equal(values, expected)
        np.testing.assert_array_equal(schedule(np.array(counts, dtype)), expected)


def test_arrays_of_counts_keep_their_shape() -> None:
    schedule = gm.sgdr_schedule([CYCLE, CYCLE])
    values = schedule(np.arange(12).reshape(3, 4))
    assert values.dtype == np.float64
    assert values.shape == (3, 4)
    assert values[2, 1] == schedule(9)


@pytest.mark.parametrize("rate", [2.0, -2.0, 0.5])
@pytest.mark.parametrize("end_value", [None, 7.0])
def test_exponential_decay_after_a_long_run(rate: float, end_value: float | None) -> None:
    ours, theirs = (m.exponential_decay(1.0, 1, rate, end_value=end_value) for m in (gm, optax))
    with jax.enable_x64(True):
        assert ours(10**6) == float(theirs(10**6))


def test_wrapped_schedule_counts_as_optax_does() -> None:
    ours = gm.WrappedSchedule(gm.linear_schedule(1.0, 0.0, 4))
    theirs = optax.WrappedSchedule(optax.linear_schedule(1.0, 0.0, 4))
    state, their_state = ours.init(), theirs.init()
    assert isinstance(ours, gm.schedules.StatefulSchedule)
    assert not isinstance(gm.linear_schedule(1.0, 0.0, 4), gm.schedules.StatefulSchedule)
    for _ in range(6):
        assert type(state).__name__ == type(their_state).__name__
        assert state._fields == their_state._fields
        assert (state.count.dtype, state.count.shape) == (np.int32, ())
        assert state.count == their_state.count
        assert ours(state, loss=1.0) == theirs(their_state, loss=1.0)
        state, their_state = ours.update(state, loss=1.0), theirs.update(their_state, loss=1.0)
    last = gm.schedules.WrappedScheduleState(np.asarray(2**31 - 1, np.int32))
    assert ours.update(last) == last
    assert pickle.loads(pickle.dumps(ours)) == ours


@pytest.mark.parametrize(
    "make",
    [
        lambda: gm.cosine_decay_schedule(1.0, 0),
        lambda: gm.warmup_cosine_decay_schedule(0.0, 1.0, 5, 5),
        lambda: gm.join_schedules([gm.constant_schedule(1.0)], [3]),
        lambda: gm.join_schedules([gm.constant_schedule(1.0)] * 3, [3, 1]),
        lambda: gm.piecewise_constant_schedule(1.0, {3: 0.5, 5: -0.5}),
        lambda: gm.piecewise_constant_schedule(1.0, {3: math.nan}),
        lambda: gm.piecewise_interpolate_schedule("linear", 1.0, {3: -0.5}),
        lambda: gm.piecewise_interpolate_schedule("cubic", 1.0, {3: 0.5}),
        lambda: gm.linear_onecycle_schedule(0, 1.0),
        lambda: gm.linear_onecycle_schedule(10, 1.0, div_factor=-25.0),
        lambda: gm.cosine_onecycle_schedule(-1, 1.0),
        lambda: gm.sgdr_schedule([]),
        lambda: gm.sgdr_schedule([{**CYCLE, "warmup_steps": 7}]),
    ],
)
def test_wrong_arguments_raise(make: Any) -> None:
    with pytest.raises(ValueError, match="schedule"):
        make()
