from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradmill._data.checks import number
from gradmill._data.numbers import HOST, divisor
from gradmill._data.recorded import recorded
from gradmill.schedules._base import BuiltinSchedule
from gradmill.schedules._constant import constant_schedule


@dataclass(frozen=True)
class _ExponentialDecay(BuiltinSchedule):
    init_value: float
    transition_steps: int
    decay_rate: float
    transition_begin: int
    staircase: bool
    end_value: float | None

    def at(self, xp: Any, count: Any) -> Any:
        value = self.init_value
        if xp is not HOST or count > self.transition_begin:
            steps = divisor(xp, self.transition_steps, count)
            periods = xp.maximum(count - self.transition_begin, 0) / steps
            if self.staircase:
                periods = xp.floor(periods)
            # A growing value ends at infinity; a negative rate has no fractional powers.
            with np.errstate(all="ignore"):
                value = value * xp.float_power(self.decay_rate, periods)
                value = float(value) if xp is HOST else value
        if self.end_value is None:
            return value
        bound = xp.maximum if self.decay_rate < 1 else xp.minimum
        return bound(value, self.end_value)


@recorded
def exponential_decay(
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> BuiltinSchedule:
    r"""Multiply by the same factor every ``transition_steps``, smoothly or in jumps.

    .. math:: v_0\, r^{\max(t - b, 0) / T}

    Args:
        init_value: The value :math:`v_0` up to step ``transition_begin``.
        transition_steps: The number of steps :math:`T` over which the value changes by the factor
            ``decay_rate``. If it is not positive, the value is constant.
        decay_rate: The factor :math:`r` applied every ``transition_steps``. Above 1 the value
            grows; 0 keeps it constant.
        transition_begin: The step :math:`b` at which to leave ``init_value``; a negative number
            counts as 0.
        staircase: Whether to change the value in jumps, once every ``transition_steps``, instead of
            smoothly.
        end_value: Where to stop: the smallest value if ``decay_rate`` is below 1, otherwise the
            largest. It also bounds ``init_value``, unless the schedule is constant.

    Returns:
        A function of the step count.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: An argument is NaN.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.exponential_decay(1.0, transition_steps=2, decay_rate=0.25, end_value=0.1)
        >>> [schedule(count) for count in range(5)]
        [1.0, 0.5, 0.25, 0.125, 0.1]
    """
    init_value = number("init_value", init_value)
    transition_steps = number("transition_steps", transition_steps)
    decay_rate = number("decay_rate", decay_rate)
    begin = max(number("transition_begin", transition_begin), 0)
    if end_value is not None:
        end_value = number("end_value", end_value)
    if transition_steps <= 0 or decay_rate == 0:
        return constant_schedule(init_value)
    return _ExponentialDecay(init_value, transition_steps, decay_rate, begin, staircase, end_value)
