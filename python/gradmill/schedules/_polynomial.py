from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradmill._data.checks import number
from gradmill._data.numbers import divisor
from gradmill._data.recorded import recorded
from gradmill.schedules._base import BuiltinSchedule
from gradmill.schedules._constant import constant_schedule


@dataclass(frozen=True)
class _Polynomial(BuiltinSchedule):
    init_value: float
    end_value: float
    power: float
    transition_steps: int
    transition_begin: int

    def at(self, xp: Any, count: Any) -> Any:
        steps = divisor(xp, self.transition_steps, count)
        done = xp.minimum(xp.maximum(count - self.transition_begin, 0), steps)
        rest = 1.0 - done / steps
        return (self.init_value - self.end_value) * xp.power(rest, self.power) + self.end_value


@recorded
def polynomial_schedule(
    init_value: float,
    end_value: float,
    power: float,
    transition_steps: int,
    transition_begin: int = 0,
) -> BuiltinSchedule:
    r"""Go from one value to another along a power of the remaining steps.

    .. math:: (v_0 - v_1) \left(1 - \frac{\min(\max(t - b, 0), T)}{T}\right)^{p} + v_1

    Args:
        init_value: The value :math:`v_0` up to step ``transition_begin``.
        end_value: The value :math:`v_1` from ``transition_begin + transition_steps`` on.
        power: The exponent :math:`p`: 1 is linear, 2 falls fast at first.
        transition_steps: The number of steps :math:`T` of the change. If it is not positive, the
            value is constant.
        transition_begin: The step :math:`b` at which to leave ``init_value``; a negative number
            counts as 0.

    Returns:
        A function of the step count.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: An argument is NaN.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.polynomial_schedule(1.0, 0.0, power=2, transition_steps=10)
        >>> schedule(0), schedule(5), schedule(20)
        (1.0, 0.25, 0.0)
    """
    init_value, end_value = number("init_value", init_value), number("end_value", end_value)
    power, transition_steps = number("power", power), number("transition_steps", transition_steps)
    begin = max(number("transition_begin", transition_begin), 0)
    if transition_steps <= 0:
        return constant_schedule(init_value)
    return _Polynomial(init_value, end_value, power, transition_steps, begin)


@recorded
def linear_schedule(
    init_value: float, end_value: float, transition_steps: int, transition_begin: int = 0
) -> BuiltinSchedule:
    r"""Go from one value to another linearly.

    .. math:: v_0 + (v_1 - v_0) \min(\max(t - b, 0), T) / T

    Args:
        init_value: The value :math:`v_0` up to step ``transition_begin``.
        end_value: The value :math:`v_1` from ``transition_begin + transition_steps`` on.
        transition_steps: The number of steps :math:`T` of the change. If it is not positive, the
            value is constant.
        transition_begin: The step :math:`b` at which to leave ``init_value``; a negative number
            counts as 0.

    Returns:
        A function of the step count.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: An argument is NaN.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.linear_schedule(1.0, 0.0, transition_steps=4)
        >>> [schedule(count) for count in range(6)]
        [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    return polynomial_schedule(init_value, end_value, 1, transition_steps, transition_begin)
