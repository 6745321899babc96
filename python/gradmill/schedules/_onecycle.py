from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradmill._data.checks import number
from gradmill._data.recorded import recorded
from gradmill.schedules._piecewise import piecewise_interpolate_schedule

if TYPE_CHECKING:
    from gradmill.schedules._base import BuiltinSchedule


@recorded
def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> BuiltinSchedule:
    """One cycle: rise linearly to a peak, fall back to the start, then much lower.

    The values are ``peak_value / div_factor`` at step 0, then ``peak_value``, then
    ``peak_value / div_factor`` again, and finally ``peak_value / (div_factor * final_div_factor)``.

    Args:
        transition_steps: The number of steps of the whole cycle.
        peak_value: The largest value of the cycle.
        pct_start: At what fraction of the steps the peak is reached, from 0 to 1.
        pct_final: At what fraction of the steps the value is back at its start.
        div_factor: The peak divided by the first value.
        final_div_factor: The first value divided by the last.

    Returns:
        A function of the step count. In a cycle so short that two of its corners fall on one step,
        the later one's factor counts alone.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: ``transition_steps`` is not positive, a factor is negative, or an argument is
            NaN.
        ZeroDivisionError: A factor is zero.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.linear_onecycle_schedule(8, 1.0, 0.25, 0.75, 4.0, 10.0)
        >>> [round(schedule(count), 4) for count in range(0, 10, 2)]
        [0.25, 1.0, 0.625, 0.25, 0.025]

    References:
        Smith and Topin, `Super-Convergence: Very Fast Training of Neural Networks Using Large
        Learning Rates <https://arxiv.org/abs/1708.07120>`_, 2017.
    """
    transition_steps = _steps("linear_onecycle_schedule", transition_steps)
    start = number("pct_start", pct_start) * transition_steps
    final = number("pct_final", pct_final) * transition_steps
    rise = number("div_factor", div_factor)
    fall = number("final_div_factor", final_div_factor)
    scales = {int(start): rise, int(final): 1.0 / rise, transition_steps: 1.0 / fall}
    first = number("peak_value", peak_value) / rise
    return piecewise_interpolate_schedule("linear", first, scales)


@recorded
def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> BuiltinSchedule:
    """One cycle: rise to a peak and fall far below the start, along half cosine waves.

    The values are ``peak_value / div_factor`` at step 0, then ``peak_value``, and finally
    ``peak_value / (div_factor * final_div_factor)``.

    Args:
        transition_steps: The number of steps of the whole cycle.
        peak_value: The largest value of the cycle.
        pct_start: At what fraction of the steps the peak is reached, from 0 to 1.
        div_factor: The peak divided by the first value.
        final_div_factor: The first value divided by the last.

    Returns:
        A function of the step count. In a cycle whose peak falls on its last step, the last factor
        counts alone.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: ``transition_steps`` is not positive, a factor is negative, or an argument is
            NaN.
        ZeroDivisionError: A factor is zero.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.cosine_onecycle_schedule(8, 1.0, 0.25, 4.0, 10.0)
        >>> [round(schedule(count), 4) for count in (0, 1, 2, 5, 8, 9)]
        [0.25, 0.625, 1.0, 0.5125, 0.025, 0.025]

    References:
        Smith and Topin, `Super-Convergence: Very Fast Training of Neural Networks Using Large
        Learning Rates <https://arxiv.org/abs/1708.07120>`_, 2017.
    """
    transition_steps = _steps("cosine_onecycle_schedule", transition_steps)
    start = number("pct_start", pct_start) * transition_steps
    rise = number("div_factor", div_factor)
    fall = rise * number("final_div_factor", final_div_factor)
    scales = {int(start): rise, int(transition_steps): 1.0 / fall}
    first = number("peak_value", peak_value) / rise
    return piecewise_interpolate_schedule("cosine", first, scales)


def _steps(name: str, transition_steps: object) -> Any:
    steps = number("transition_steps", transition_steps)
    if steps <= 0:
        # These are the words of optax, where they serve for both cycles.
        raise ValueError(
            "A linear onecycle schedule was set with a non-positive `transition_steps`,"
            f" got {steps} ({name})"
        )
    return steps
