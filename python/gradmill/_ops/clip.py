"""Updates within bounds, element by element."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from gradmill._ops.common import Array


def clip(xp: ModuleType, u: Array, p: Array, *, max_delta: Array) -> tuple[Array, ...]:
    """Return ``u`` limited to ``[-max_delta, max_delta]``; NaN stays."""
    return (xp.minimum(xp.maximum(u, -max_delta), max_delta),)
