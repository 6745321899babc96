from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gradmill._data.checks import number
from gradmill._data.numbers import divisor
from gradmill._data.recorded import recorded
from gradmill.schedules._base import BuiltinSchedule


@dataclass(frozen=True)
class _CosineDecay(BuiltinSchedule):
    init_value: float
    decay_steps: int
    alpha: float
    exponent: float

    def at(self, xp: Any, count: Any) -> Any:
        steps = divisor(xp, self.decay_steps, count)
        share = xp.minimum(count, steps) / steps
        decay = xp.power(0.5 * (1 + xp.cos(math.pi * share)), self.exponent)
        return self.init_value * ((1 - self.alpha) * decay + self.alpha)


@recorded
def cosine_decay_schedule(
    init_value: float, decay_steps: int, alpha: float = 0.0, exponent: float = 1.0
) -> BuiltinSchedule:
    r"""Decay from a value along half a cosine wave. The usual choice for a run of known length.

    .. math::
        v_0 \left((1 - \alpha)
        \left(\tfrac12 (1 + \cos(\pi \min(t, T) / T))\right)^p + \alpha\right)

    Args:
        init_value: The value :math:`v_0` at step 0.
        decay_steps: The number of steps :math:`T` of the decay; the value is constant afterwards.
        alpha: The final value as a fraction of ``init_value``. 0 decays to zero.
        exponent: The exponent :math:`p`. Above 1 the value falls sooner.

    Returns:
        A function of the step count.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: ``decay_steps`` is not positive, or an argument is NaN.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.cosine_decay_schedule(2.0, decay_steps=10)
        >>> schedule(0), schedule(5), schedule(10)
        (2.0, 1.0, 0.0)

    References:
        Loshchilov and Hutter, `SGDR: Stochastic Gradient Descent with Warm Restarts
        <https://arxiv.org/abs/1608.03983>`_, 2017.
    """
    decay_steps = number("decay_steps", decay_steps)
    if decay_steps <= 0:
        raise ValueError(
            f"The cosine_decay_schedule requires positive decay_steps, got {decay_steps=}."
        )
    return _CosineDecay(
        number("init_value", init_value),
        decay_steps,
        number("alpha", alpha),
        number("exponent", exponent),
    )
