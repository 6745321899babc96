"""Updates divided by their largest size so far."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction, over
from gradmill._ops.op import op

Array = Any


@op
def scale_by_adamax(
    xp: Any, u: Array, mu: Array, nu: Array, *, b1: Array, b2: Array, eps: Array, count: Any
) -> tuple[Array, ...]:
    """Divide the corrected first moment by a fading maximum of sizes."""
    mu, nu = average(b1, mu, u), xp.maximum(b2 * nu, xp.abs(u) + eps)
    return over(xp, mu / correction(b1, count + 1.0), nu), mu, nu
