"""An average of updates over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from gradmill._ops.common import Array


def ema(
    xp: ModuleType, u: Array, p: Array, ema: Array, *, decay: Array, correction: Array
) -> tuple[Array, ...]:
    """Average over time."""
    ema = decay * ema + (1 - decay) * u
    return ema / correction, ema
