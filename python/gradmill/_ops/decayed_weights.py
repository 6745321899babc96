"""Weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from gradmill._ops.common import Array


def add_decayed_weights(
    xp: ModuleType, u: Array, p: Array, *, weight_decay: Array
) -> tuple[Array, ...]:
    """Return ``u + weight_decay * p``."""
    return (u + weight_decay * p,)
