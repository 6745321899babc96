"""Updates over the root of a second moment that has not seen them yet."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, if_first, positive
from gradmill._ops.op import op

Array = Any


@op
def scale_by_adopt(
    xp: Any,
    u: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    clip_value: Array,
    count: Any,
) -> tuple[Array, ...]:
    """Average what is divided by the root of the last second moment, and clipped."""
    normal = _normalized(xp, u, nu, eps, clip_value, count)
    mu = _later(count, b1, mu, normal)
    return mu, mu, if_first(count, u * u, average(b2, nu, u * u))


@op
def scale_by_adopt_nesterov(
    xp: Any,
    u: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    clip_value: Array,
    count: Any,
) -> tuple[Array, ...]:
    """Do the same, and look ahead by one more average with what was divided."""
    normal = _normalized(xp, u, nu, eps, clip_value, count)
    mu = _later(count, b1, mu, normal)
    ahead = _later(count, b1, mu, normal)
    return ahead, mu, if_first(count, u * u, average(b2, nu, u * u))


def _normalized(xp: Any, u: Array, nu: Array, eps: Array, clip_value: Array, count: Any) -> Array:
    """``u`` over the root of ``nu``, of which nothing is known at first, within bounds."""
    size = if_first(count, 1.0, xp.maximum(xp.sqrt(nu), positive(xp, eps, nu.dtype)))
    return xp.minimum(xp.maximum(u / size, -clip_value), clip_value)


def _later(count: Any, decay: Array, old: Array, new: Array) -> Array:
    """An average that begins with the second step; what is not finite reaches it in the first."""
    return if_first(count, old + 0.0 * new, average(decay, old, new))
