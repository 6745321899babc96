"""Updates times the size of the parameters of their leaf."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import total
from gradmill._ops.op import op

Array = Any


@op(finds="units")
def scale_by_param_block_norm(
    xp: Any, u: Array, p: Array, *, min_scale: Array
) -> tuple[Array, ...]:
    """Multiply by the norm of the parameters."""
    return (_times(xp, u, xp.sqrt(total(xp, p * p)), min_scale),)


@op(finds="units")
def scale_by_param_block_rms(xp: Any, u: Array, p: Array, *, min_scale: Array) -> tuple[Array, ...]:
    """Multiply by the root mean square of the parameters."""
    return (_times(xp, u, xp.sqrt(total(xp, p * p) / p.size), min_scale),)


def _times(xp: Any, u: Array, size: Array, min_scale: Array) -> Array:
    return u * xp.asarray(xp.maximum(size, min_scale), u.dtype)
