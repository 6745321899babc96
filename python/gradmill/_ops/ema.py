"""An average of updates over time."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction
from gradmill._ops.op import op

Array = Any


@op
def ema(
    xp: Any, u: Array, ema: Array, *, decay: Array, debias: Any, count: Any
) -> tuple[Array, ...]:
    """Average over time."""
    ema = average(decay, ema, u)
    return ema / correction(decay, count + 1.0) if debias else ema, ema
