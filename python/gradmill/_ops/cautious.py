"""Weights that decay where the update shrinks them anyway."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import sign
from gradmill._ops.op import op

Array = Any


@op
def cautious_weight_decay(xp: Any, u: Array, p: Array, *, weight_decay: Array) -> tuple[Array, ...]:
    """Add a multiple of the parameter unless its sign is opposite to the update's."""
    return (xp.where(sign(xp, u) * sign(xp, p) < 0, u, u + weight_decay * p),)
