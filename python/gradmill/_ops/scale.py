"""Updates times a number."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op
def scale(xp: Any, u: Array, *, step_size: Array) -> tuple[Array, ...]:
    """Return ``step_size * u``."""
    return (step_size * u,)
