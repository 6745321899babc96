"""Updates selected by whether two signs agree."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import sign, total
from gradmill._ops.op import op

Array = Any


@op(finds="units")
def cautious(
    xp: Any, u: Array, p: Array, *, descends: Array, least_share: Array
) -> tuple[Array, ...]:
    """Leave out what goes against a gradient, which stands in the place of the parameter."""
    along = sign(xp, u) * sign(xp, -p if descends else p)
    # What is no number is no disagreement: it stays to be seen.
    differs = along <= 0
    share = xp.maximum(1.0 - total(xp, differs) / u.size, least_share)
    return (xp.where(differs, 0.0, u / xp.asarray(share, u.dtype)),)


@op
def cautious_weight_decay(xp: Any, u: Array, p: Array, *, weight_decay: Array) -> tuple[Array, ...]:
    """Add a multiple of the parameter unless its sign is opposite to the update's."""
    return (xp.where(sign(xp, u) * sign(xp, p) < 0, u, u + weight_decay * p),)
