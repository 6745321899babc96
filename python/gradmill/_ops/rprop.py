"""Updates of which only the signs count."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import sign
from gradmill._ops.op import op

Array = Any


@op
def scale_by_rprop(
    xp: Any,
    u: Array,
    step_sizes: Array,
    prev_updates: Array,
    *,
    eta_minus: Array,
    eta_plus: Array,
    min_step_size: Array,
    max_step_size: Array,
) -> tuple[Array, ...]:
    """Return the step of last time, unless the sign has changed since, and settle the next one."""
    agreement = u * prev_updates
    turns = agreement < 0
    scaled = xp.where(agreement > 0, step_sizes * eta_plus, step_sizes * eta_minus)
    bounded = xp.minimum(xp.maximum(scaled, min_step_size), max_step_size)
    step_sizes = xp.where(agreement == 0, step_sizes, bounded)
    update = xp.where(turns, 0.0, prev_updates)
    return update, step_sizes, xp.where(turns, 0.0, step_sizes * sign(xp, u))
