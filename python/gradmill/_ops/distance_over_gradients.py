"""Updates of a leaf divided by the root of all their squares, times the distance moved."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import over, total
from gradmill._ops.op import op

Array = Any


@op(finds="units", summed=("init_params",))
def scale_by_distance_over_gradients(
    xp: Any,
    u: Array,
    p: Array,
    init_params: Array,
    max_dist: Array,
    grad_sum_of_squares: Array,
    *,
    eps: Array,
    global_scale: Array,
) -> tuple[Array, ...]:
    """Scale by the largest distance over the root of the sum of squared norms."""
    way = p - init_params
    farthest = xp.maximum(max_dist, xp.asarray(xp.sqrt(total(xp, way * way)), u.dtype))
    squares = grad_sum_of_squares + xp.asarray(total(xp, u * u), u.dtype)
    rate = over(xp, farthest, xp.sqrt(squares[0] + eps))
    return u * (global_scale * rate), init_params, farthest, squares
