"""Updates that keep parameters from becoming negative."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op
def keep_params_nonnegative(xp: Any, u: Array, p: Array) -> tuple[Array, ...]:
    """Return ``u``, or what takes ``p`` to zero where it would become negative."""
    return (xp.where(p + u < 0, -p, u),)
