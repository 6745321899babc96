"""Iterates that are averaged instead of slowed down."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op
def schedule_free(
    xp: Any, u: Array, p: Array, z: Array, *, b1: Array, share: Array
) -> tuple[Array, ...]:
    """Move what is averaged, and hand on what that makes of the parameters."""
    new = z + u
    # The new parameters less the old ones, without what would cancel.
    average = (p - (1 - b1) * z) / b1
    return b1 * share * (new - average) + (1 - b1) * (new - z), new
