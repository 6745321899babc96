"""Signs of updates."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import sign
from gradmill._ops.op import op

Array = Any


@op
def scale_by_sign(xp: Any, u: Array) -> tuple[Array, ...]:
    """The sign."""
    return (sign(xp, u),)
