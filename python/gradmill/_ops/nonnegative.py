"""Parameters that stay nonnegative."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from gradmill._ops.common import Array


def keep_params_nonnegative(xp: ModuleType, u: Array, p: Array) -> tuple[Array, ...]:
    """Return ``u``, or what takes ``p`` to zero where it would become negative."""
    return (xp.where(p + u < 0, -p, u),)
