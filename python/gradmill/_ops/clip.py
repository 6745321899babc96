"""Updates clipped to bounds."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op(makes_steps=False)
def clip(xp: Any, u: Array, *, max_delta: Array) -> tuple[Array, ...]:
    """Return ``u`` limited to ``[-max_delta, max_delta]``; NaN stays."""
    return (xp.minimum(xp.maximum(u, -max_delta), max_delta),)
