from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradmill._data.checks import number
from gradmill._data.numbers import HOST
from gradmill._data.recorded import recorded
from gradmill.schedules._base import BuiltinSchedule, is_own
from gradmill.schedules._cosine import cosine_decay_schedule
from gradmill.schedules._polynomial import linear_schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.types import Schedule


@dataclass(frozen=True)
class _Joined(BuiltinSchedule):
    schedules: tuple[Schedule, ...]
    boundaries: tuple[int, ...]

    @property
    def has_own_parts(self) -> bool:
        """Whether all schedules are; a user's takes the count that this one is given."""
        return all(map(is_own, self.schedules))

    def at(self, xp: Any, count: Any) -> Any:
        if xp is HOST:
            which = bisect_right(self.boundaries, count)
            start = self.boundaries[which - 1] if which else 0
            return self.schedules[which](count - start)
        value: Any = self.schedules[0](count)
        for boundary, schedule in zip(self.boundaries, self.schedules[1:], strict=True):
            # From 0: a member without a value before would make the gradient of all NaN.
            own = schedule(xp.maximum(count - boundary, 0))
            value = xp.where(count < boundary, value, own)
        return value


@recorded
def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> BuiltinSchedule:
    """Follow one schedule after another; each counts from 0.

    Args:
        schedules: The schedules. Each one is called with the count since it took over.
        boundaries: The steps at which the second, third, ... schedule takes over, in ascending
            order.

    Returns:
        A function of the step count.

    Raises:
        TypeError: A boundary is not a real number.
        ValueError: There is not one boundary less than schedules, or they do not ascend.

    Example:
        >>> import gradmill as gm
        >>> steps = [gm.constant_schedule(1.0), gm.linear_schedule(1.0, 0.0, 2)]
        >>> schedule = gm.join_schedules(steps, [3])
        >>> [schedule(count) for count in range(6)]
        [1.0, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    steps = [number(f"boundaries[{i}]", boundary) for i, boundary in enumerate(boundaries)]
    if not schedules:
        raise ValueError("join_schedules needs at least one schedule")
    if len(steps) != len(schedules) - 1 or steps != sorted(steps):
        raise ValueError(
            f"join_schedules needs {len(schedules) - 1} ascending boundaries, got {steps}"
        )
    return _Joined(tuple(schedules), tuple(steps))


@recorded
def warmup_cosine_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> BuiltinSchedule:
    """Rise linearly, then decay along half a cosine wave. The usual choice for transformers.

    :func:`linear_schedule` for ``warmup_steps``, then :func:`cosine_decay_schedule`.

    Args:
        init_value: The value at step 0.
        peak_value: The value at the end of the warm-up.
        warmup_steps: The number of steps of the rise.
        decay_steps: The number of steps of the rise and the decay together.
        end_value: The value at the end, which stays.
        exponent: The exponent of the cosine. Above 1 the value falls sooner.

    Returns:
        A function of the step count.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: ``decay_steps`` is not larger than ``warmup_steps``, or an argument is NaN.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=2, decay_steps=4)
        >>> [round(schedule(count), 6) for count in range(6)]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]

    References:
        Goyal et al., `Accurate, Large Minibatch SGD <https://arxiv.org/abs/1706.02677>`_, 2017, for
        the warm-up; Loshchilov and Hutter, `SGDR <https://arxiv.org/abs/1608.03983>`_, 2017.
    """
    peak_value, end_value = number("peak_value", peak_value), number("end_value", end_value)
    warmup_steps = number("warmup_steps", warmup_steps)
    decay_steps = number("decay_steps", decay_steps)
    alpha = 0.0 if peak_value == 0.0 else end_value / peak_value
    return join_schedules(
        [
            linear_schedule(init_value, peak_value, warmup_steps),
            cosine_decay_schedule(peak_value, decay_steps - warmup_steps, alpha, exponent),
        ],
        [warmup_steps],
    )
