"""A number times the update."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from gradmill._ops.common import Array


def scale(xp: ModuleType, u: Array, p: Array, *, step_size: Array) -> tuple[Array, ...]:
    """Return ``step_size * u``."""
    return (step_size * u,)
