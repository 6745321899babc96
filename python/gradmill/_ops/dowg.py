"""Updates divided by a norm of all so far, weighted by distances from the start."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import over
from gradmill._ops.dog import squares
from gradmill._ops.op import Numbers, Sums, op

Array = Any


def _estimates(xp: Any, distance: Array, squares: Array, by: Numbers) -> tuple[Array, Array]:
    """The weighted sum of squares, and the largest square of a distance so far."""
    farthest = xp.maximum(by.estim_sq_dist, distance)
    return by.weighted_sq_norm_grads + farthest * squares, farthest


@op(finds="estimates", sums=Sums(squares, _estimates), fixed=("init_params",))
def dowg(
    xp: Any,
    u: Array,
    p: Array,
    init_params: Array,
    *,
    eps: Array,
    weighted_sq_norm_grads: Array,
    estim_sq_dist: Array,
    estimates: tuple[Array, Array],
) -> tuple[Array, ...]:
    """Scale by the square of the distance over the root of the weighted sum."""
    weighted, farthest = estimates
    return xp.asarray(over(xp, farthest, xp.sqrt(weighted) + eps), u.dtype) * u, init_params
