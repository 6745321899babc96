from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._data.checks import number
from gradmill._data.recorded import recorded
from gradmill.schedules._exponential import exponential_decay
from gradmill.schedules._join import join_schedules
from gradmill.schedules._polynomial import linear_schedule

if TYPE_CHECKING:
    from gradmill.schedules._base import BuiltinSchedule


@recorded
def warmup_constant_schedule(
    init_value: float, peak_value: float, warmup_steps: int
) -> BuiltinSchedule:
    r"""Rise linearly, then stay.

    .. math:: v_0 + (v_1 - v_0) \min(t, T) / T

    Args:
        init_value: The value :math:`v_0` at step 0.
        peak_value: The value :math:`v_1` from ``warmup_steps`` on.
        warmup_steps: The number of steps :math:`T`; if not positive, ``init_value`` stays.

    Returns:
        A function of the step count.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: An argument is NaN.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.warmup_constant_schedule(0.0, 1.0, warmup_steps=2)
        >>> [schedule(count) for count in range(4)]
        [0.0, 0.5, 1.0, 1.0]

    References:
        Goyal et al., `Accurate, Large Minibatch SGD <https://arxiv.org/abs/1706.02677>`_, 2017.
    """
    peak_value = number("peak_value", peak_value)
    return linear_schedule(init_value, peak_value, number("warmup_steps", warmup_steps))


@recorded
def warmup_exponential_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> BuiltinSchedule:
    """Rise linearly, then decay exponentially.

    :func:`linear_schedule` for ``warmup_steps``, then :func:`exponential_decay`.

    Args:
        init_value: The value at step 0.
        peak_value: The value at the end of the warm-up.
        warmup_steps: The number of steps of the rise.
        transition_steps: The number of steps over which the value changes by the factor
            ``decay_rate``. If it is not positive, the peak stays.
        decay_rate: The factor applied every ``transition_steps``. Above 1 the value grows; 0 keeps
            it constant.
        transition_begin: How many steps to stay at the peak; a negative number counts as 0.
        staircase: Whether to change the value in jumps, once every ``transition_steps``, instead of
            smoothly.
        end_value: Where to stop: the smallest value if ``decay_rate`` is below 1, otherwise the
            largest. It does not bound the rise.

    Returns:
        A function of the step count.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: An argument is NaN.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.warmup_exponential_decay_schedule(0.0, 1.0, 2, 1, decay_rate=0.5)
        >>> [schedule(count) for count in range(6)]
        [0.0, 0.5, 1.0, 0.5, 0.25, 0.125]

    References:
        Goyal et al., `Accurate, Large Minibatch SGD <https://arxiv.org/abs/1706.02677>`_, 2017.
    """
    peak_value = number("peak_value", peak_value)
    warmup_steps = number("warmup_steps", warmup_steps)
    decay = exponential_decay(
        peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value
    )
    return join_schedules(
        [linear_schedule(init_value, peak_value, warmup_steps), decay], [warmup_steps]
    )
