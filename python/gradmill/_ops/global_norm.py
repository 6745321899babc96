"""Updates rescaled by their global norm."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import over
from gradmill._ops.op import op

Array = Any


@op(finds="norm", makes_steps=False)
def clip_by_global_norm(xp: Any, u: Array, *, max_norm: Array, norm: Array) -> tuple[Array, ...]:
    """Return ``u`` shrunk so that the norm of the whole tree is at most ``max_norm``."""
    return (xp.where(norm < max_norm, u, over(xp, u, norm) * max_norm),)


@op(finds="norm")
def normalize_by_update_norm(
    xp: Any, u: Array, *, scale_factor: Array, eps: Array, norm: Array
) -> tuple[Array, ...]:
    """Return ``u`` over the norm of the whole tree."""
    return (over(xp, u, norm + eps) * scale_factor,)
