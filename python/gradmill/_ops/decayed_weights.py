"""Updates plus a multiple of the parameters."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op
def add_decayed_weights(xp: Any, u: Array, p: Array, *, weight_decay: Array) -> tuple[Array, ...]:
    """Return ``u + weight_decay * p``."""
    return (u + weight_decay * p,)
