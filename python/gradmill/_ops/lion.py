"""Updates of one size, in the direction of momentum."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, sign
from gradmill._ops.op import op

Array = Any


@op
def scale_by_lion(xp: Any, u: Array, mu: Array, *, b1: Array, b2: Array) -> tuple[Array, ...]:
    """The sign of an average of the moment and the update."""
    return sign(xp, average(b1, mu, u)), average(b2, mu, u)


@op
def scale_by_lion_refined(
    xp: Any, u: Array, mu: Array, *, b1: Array, b2: Array
) -> tuple[Array, ...]:
    """That average itself, between -1 and 1."""
    return xp.clip(average(b1, mu, u), -1.0, 1.0), average(b2, mu, u)


@op
def scale_by_lion_smooth(
    xp: Any, u: Array, mu: Array, *, b1: Array, b2: Array, smooth_beta: Array
) -> tuple[Array, ...]:
    """The hyperbolic tangent of a multiple of that average."""
    return xp.tanh(smooth_beta * average(b1, mu, u)), average(b2, mu, u)
