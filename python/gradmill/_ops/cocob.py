"""Parameters as bets on coins."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import over
from gradmill._ops.op import op

Array = Any


@op
def scale_by_cocob(
    xp: Any,
    u: Array,
    p: Array,
    init_particles: Array,
    cumulative_gradients: Array,
    scale: Array,
    subgradients: Array,
    reward: Array,
    *,
    alpha: Array,
) -> tuple[Array, ...]:
    """Go to where a share of the wealth, bet on the sign of the sum of gradients, leads."""
    size = xp.abs(u)
    scale, subgradients = xp.maximum(scale, size), subgradients + size
    reward = xp.maximum(reward - u * (p - init_particles), 0.0)
    cumulative_gradients = cumulative_gradients - u
    # Two quotients, as the product of what divides would overflow early.
    share = over(xp, cumulative_gradients, xp.maximum(subgradients + scale, alpha * scale))
    moved = share * over(xp, scale + reward, scale)
    slots = init_particles, cumulative_gradients, scale, subgradients, reward
    return init_particles - p + moved, *slots
