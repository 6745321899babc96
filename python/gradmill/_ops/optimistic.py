"""Updates plus a multiple of their last change."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op
def scale_by_optimistic_gradient(
    xp: Any,
    u: Array,
    previous_gradient: Array,
    *,
    alpha: Array,
    beta: Array,
    is_initial_step: Any,
) -> tuple[Array, ...]:
    """Add a multiple of the difference to the update before; in the first step there is none."""
    before = xp.where(is_initial_step != 0, u, previous_gradient)
    return (alpha + beta) * u - beta * before, u
