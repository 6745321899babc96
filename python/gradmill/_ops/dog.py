"""Updates divided by the norm of all so far, times the largest distance from the start."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import over
from gradmill._ops.op import Numbers, Sums, op

Array = Any


def squares(
    xp: Any,
    u: Array,
    p: Array,
    init_params: Array,
    by: Numbers,
) -> tuple[Array, Array]:
    """Those of steps from the first parameters and of updates."""
    moved = init_params - p
    return moved * moved, u * u


def _estimates(xp: Any, distance: Array, squares: Array, by: Numbers) -> tuple[Array, Array]:
    """The largest distance and the sum of squares so far."""
    return xp.maximum(by.max_dist, xp.sqrt(distance)), by.sum_sq_norm_grads + squares


@op(finds="estimates", sums=Sums(squares, _estimates), fixed=("init_params",))
def dog(
    xp: Any,
    u: Array,
    p: Array,
    init_params: Array,
    *,
    eps: Array,
    first_rate: Array,
    is_first: Array,
    max_dist: Array,
    sum_sq_norm_grads: Array,
    estimates: tuple[Array, Array],
) -> tuple[Array, ...]:
    """Scale by the rate that both make, or by that of the first step where it is given."""
    farthest, squares = estimates
    rate = xp.where(is_first, first_rate, over(xp, farthest, xp.sqrt(squares + eps)))
    return xp.asarray(rate, u.dtype) * u, init_params
