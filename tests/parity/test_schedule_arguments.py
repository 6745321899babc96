"""Schedules with arguments at and beyond their limits, against optax's."""

from __future__ import annotations

import inspect
import re
from typing import Any

import jax
import numpy as np
import optax
import pytest

import gradmill as gm

USUAL: dict[str, dict[str, Any]] = {
    "constant_schedule": {"value": 0.5},
    "cosine_decay_schedule": {"init_value": 0.5, "decay_steps": 6, "alpha": 0.1, "exponent": 2.0},
    "cosine_onecycle_schedule": {
        "transition_steps": 8,
        "peak_value": 1.0,
        "pct_start": 0.3,
        "div_factor": 25.0,
        "final_div_factor": 100.0,
    },
    "exponential_decay": {
        "init_value": 0.5,
        "transition_steps": 4,
        "decay_rate": 0.5,
        "transition_begin": 2,
        "end_value": 0.1,
    },
    "linear_onecycle_schedule": {
        "transition_steps": 8,
        "peak_value": 1.0,
        "pct_start": 0.3,
        "pct_final": 0.8,
        "div_factor": 25.0,
        "final_div_factor": 100.0,
    },
    "linear_schedule": {
        "init_value": 0.5,
        "end_value": 0.1,
        "transition_steps": 4,
        "transition_begin": 2,
    },
    "piecewise_constant_schedule": {"init_value": 0.5, "boundaries_and_scales": {2: 0.5, 4: 2.0}},
    "piecewise_interpolate_schedule": {
        "interpolate_type": "linear",
        "init_value": 0.5,
        "boundaries_and_scales": {2: 0.5, 4: 2.0},
    },
    "polynomial_schedule": {
        "init_value": 0.5,
        "end_value": 0.1,
        "power": 2.0,
        "transition_steps": 4,
        "transition_begin": 2,
    },
    "warmup_constant_schedule": {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 3},
    "warmup_cosine_decay_schedule": {
        "init_value": 0.1,
        "peak_value": 0.5,
        "warmup_steps": 3,
        "decay_steps": 8,
        "end_value": 0.2,
        "exponent": 2.0,
    },
    "warmup_exponential_decay_schedule": {
        "init_value": 0.1,
        "peak_value": 0.5,
        "warmup_steps": 3,
        "transition_steps": 4,
        "decay_rate": 0.5,
        "transition_begin": 1,
        "end_value": 0.2,
    },
}
"""Each schedule of numbers, with all of its arguments that are."""

LIMITS = (0, -1, 1, 2, 3, 0.5, 7.5)
SCALES: tuple[dict[float, float] | None, ...] = (
    None,
    {},
    {0: 0.0},
    {0: 2.0, 1: 0.0},
    {3: -0.5},
    {-2: 0.5},
    {2: 1.0, 3: -1},
    {2.5: 0.5},
)
CHANGED = [
    (name, argument, value)
    for name, usual in USUAL.items()
    for argument, own in usual.items()
    for value in (
        ("cosine", "cubic") if own == "linear" else SCALES if isinstance(own, dict) else LIMITS
    )
]
COUNTS = range(12)


def test_the_table_has_all_schedules() -> None:
    found = {
        name
        for name, function in inspect.getmembers(gm, inspect.isfunction)
        if function.__module__.startswith("gradmill.schedules")
    }
    assert found == {*USUAL, "join_schedules", "sgdr_schedule", "warmup_stable_decay_schedule"}
    for name, usual in USUAL.items():
        assert usual.keys() >= inspect.signature(getattr(gm, name)).parameters.keys() - {
            "staircase"
        }


def outcome(module: Any, name: str, arguments: dict[str, Any]) -> Any:
    """The values at some counts, or the error."""
    try:
        schedule = getattr(module, name)(**arguments)
        return [float(schedule(count)) for count in COUNTS]
    except Exception as error:  # noqa: BLE001  (of whatever kind)
        return error


def essence(error: Exception) -> str:
    """What an error of optax says."""
    return str(error).rstrip(".")


def same_outcome(name: str, arguments: dict[str, Any]) -> None:
    """Checks for the same values, or the same kind of error with what optax says in it."""
    ours = outcome(gm, name, arguments)
    with jax.enable_x64(True):
        theirs = outcome(optax, name, arguments)
    if isinstance(theirs, Exception):
        assert type(ours) is type(theirs)
        assert essence(theirs) in str(ours)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "argument", "value"), CHANGED)
@pytest.mark.filterwarnings("ignore")
def test_one_argument_at_its_limit(name: str, argument: str, value: Any) -> None:
    same_outcome(name, {**USUAL[name], argument: value})


def test_the_message_of_onecycles() -> None:
    """optax's own words, which speak of a linear one for both, and which of them it is."""
    for name in ("linear_onecycle_schedule", "cosine_onecycle_schedule"):
        message = "A linear onecycle schedule was set with a non-positive `transition_steps`"
        with pytest.raises(ValueError, match=f"{re.escape(message)}, got 0 .{name}"):
            getattr(gm, name)(0, 1.0)
        with pytest.raises(ValueError, match=re.escape(message)):
            getattr(optax, name)(0, 1.0)


CYCLE = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 1, "decay_steps": 4}


@pytest.mark.parametrize(
    "change", [{"warmup_steps": 0}, {"warmup_steps": 4}, {"decay_steps": 0}, {"peak_value": 0.0}]
)
@pytest.mark.filterwarnings("ignore")
def test_cycles_at_their_limits(change: dict[str, Any]) -> None:
    same_outcome("sgdr_schedule", {"cosine_kwargs": [CYCLE, {**CYCLE, **change}, CYCLE]})


def test_cycles_of_small_integers_do_not_overflow() -> None:
    kinds: list[Any] = [np.uint8, int]
    small, usual = (gm.sgdr_schedule([{**CYCLE, "decay_steps": kind(200)}] * 3) for kind in kinds)
    for count in range(0, 700, 50):
        assert small(count) == usual(count)
