"""Updates divided by the root of the sum of their squares."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op
def scale_by_rss(
    xp: Any, u: Array, sum_of_squares: Array, *, eps: Array, eps_root: Array
) -> tuple[Array, ...]:
    """Divide by the root of the sum of all squares; zero where there was nothing yet."""
    squares = sum_of_squares + u * u
    some = squares > 0
    root = xp.sqrt(xp.where(some, squares + eps_root, 1.0)) + eps
    return xp.where(some, u, u * 0) / root, squares
