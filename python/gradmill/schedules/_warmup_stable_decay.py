from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gradmill._data.checks import number
from gradmill._data.numbers import HOST, divisor, is_traced
from gradmill._data.recorded import recorded
from gradmill.schedules._base import BuiltinSchedule
from gradmill.schedules._constant import constant_schedule
from gradmill.schedules._join import join_schedules

_SHAPES = ("linear", "cosine", "sqrt", "exponential")


@dataclass(frozen=True)
class _Way(BuiltinSchedule):
    """From one value to another along a shape; both ends are exact."""

    shape: str
    init_value: float
    end_value: float
    steps: float

    def at(self, xp: Any, count: Any) -> Any:
        steps = divisor(xp, self.steps, count)
        share = xp.minimum(xp.maximum(count, 0), steps) / steps
        start, end = self.init_value, self.end_value
        if self.shape == "exponential":
            value = start * xp.power(end / start, share)
        else:
            value = end + (start - end) * self._rest(xp, share)
        return xp.where(share == 0, start, xp.where(share == 1, end, value))

    def _rest(self, xp: Any, share: Any) -> Any:
        """What is left of the way at a share of the steps."""
        match self.shape:
            case "cosine":
                return 0.5 * (1.0 + xp.cos(math.pi * share))
            case "sqrt":
                # The root has no slope at zero.
                inside = share if xp is HOST else xp.where(share > 0, share, 1.0)
                return 1.0 - xp.where(share > 0, xp.sqrt(inside), 0.0)
            case _:
                return 1.0 - share


@recorded
def warmup_stable_decay_schedule(
    peak_value: float,
    warmup_steps: int,
    stable_steps: int,
    decay_steps: int,
    init_value: float = 0.0,
    end_value: float = 0.0,
    decay: str = "linear",
) -> BuiltinSchedule:
    r"""Rise linearly, stay, then decay: WSD, or the trapezoidal schedule.

    With :math:`T_w, T_s, T_d` steps for the three parts, and :math:`x = (t - T_w - T_s) / T_d` the
    fraction of the decay that is done,

    .. math::
        v_0 + (v_1 - v_0) \, t / T_w \;\text{ for } t < T_w, \qquad
        v_1 \;\text{ for } t \le T_w + T_s, \qquad
        v_2 + (v_1 - v_2) \, r(x) \;\text{ then,}

    and :math:`v_2` from :math:`T_w + T_s + T_d` on. Pick it if the length of the run is not fixed
    beforehand: train at the peak for as long as you like, then decay over a tenth of the steps from
    any checkpoint. The loss ends up about as low as with a cosine over the whole run.

    Args:
        peak_value: The value :math:`v_1` from step ``warmup_steps`` to
            ``warmup_steps + stable_steps``, both included.
        warmup_steps: The number of steps :math:`T_w` of the rise; 0 for none.
        stable_steps: How many steps :math:`T_s` to stay; 0 for none.
        decay_steps: The number of steps :math:`T_d` of the fall; 0 for a run without an end.
            Lengths are counts of calls to ``update``, as elsewhere, not shares of the run: the
            last step that moves is that with count ``warmup_steps + stable_steps + decay_steps``.
        init_value: The value :math:`v_0` of step 0.
        end_value: The value :math:`v_2` in the end.
        decay: The shape of the fall: ``"linear"`` for :math:`r = 1 - x`; ``"cosine"`` for
            :math:`(1 + \cos \pi x) / 2`; ``"sqrt"`` for :math:`1 - \sqrt x`, which falls fast at
            first and is said to end lowest; ``"exponential"`` for :math:`v_1 (v_2 / v_1)^x`.

    Returns:
        A function of the step count.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: A number of steps is negative, there is no such ``decay``, an argument is NaN,
            or the ends of an exponential fall are not both above 0.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.warmup_stable_decay_schedule(
        ...     1.0, warmup_steps=2, stable_steps=2, decay_steps=2
        ... )
        >>> [schedule(count) for count in range(8)]
        [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]

    References:
        Hu et al., `MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training
        Strategies <https://arxiv.org/abs/2404.06395>`_, 2024; Hägele et al., `Scaling Laws and
        Compute-Optimal Training Beyond Fixed Training Durations
        <https://arxiv.org/abs/2405.18392>`_, 2024, for the shape ``"sqrt"``.
    """
    name = "warmup_stable_decay_schedule"
    steps = {
        "warmup_steps": number("warmup_steps", warmup_steps),
        "stable_steps": number("stable_steps", stable_steps),
        "decay_steps": number("decay_steps", decay_steps),
    }
    for argument, value in steps.items():
        if value < 0:
            raise ValueError(f"{name}: {argument} must not be negative, got {value}")
    if decay not in _SHAPES:
        raise ValueError(f"{name}: decay must be one of {', '.join(_SHAPES)}, got {decay!r:.80}")
    start, end = number("init_value", init_value), number("end_value", end_value)
    peak, warmup = number("peak_value", peak_value), steps["warmup_steps"]
    if decay == "exponential" and any(not is_traced(v) and v <= 0 for v in (peak, end)):
        raise ValueError(f"{name}: an exponential decay needs positive values")
    stay = constant_schedule(peak)
    rise = _Way("linear", start, peak, warmup) if warmup else stay
    fall = _Way(decay, peak, end, steps["decay_steps"]) if steps["decay_steps"] else stay
    return join_schedules([rise, stay, fall], [warmup, warmup + steps["stable_steps"]])
