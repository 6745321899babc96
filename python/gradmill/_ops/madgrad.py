"""Parameters placed at a distance from the start that sums of gradients determine."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op
def scale_by_madgrad(
    xp: Any,
    u: Array,
    p: Array,
    grad_sum_sq: Array,
    s: Array,
    x0: Array,
    *,
    learning_rate: Array,
    momentum: Array,
    eps: Array,
    count: Any,
) -> tuple[Array, ...]:
    """Go part of the way to what a sum over the cube root of one of squares leads to."""
    weight = xp.asarray((learning_rate + eps) * xp.sqrt(count + 1.0), u.dtype)
    grad_sum_sq, s = grad_sum_sq + weight * (u * u), s + weight * u
    # Where squares vanished, the cube root of the least normal number stands for theirs.
    least = float(xp.finfo(u.dtype).tiny) ** (1 / 3)
    size = xp.maximum(xp.cbrt(grad_sum_sq) + eps, least)
    return (1 - momentum) * (x0 - p - s / size), grad_sum_sq, s, x0
