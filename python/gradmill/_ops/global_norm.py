"""Updates bounded or divided by the norm of all leaves together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._ops.common import over

if TYPE_CHECKING:
    from types import ModuleType

    from gradmill._ops.common import Array


def clip_by_global_norm(
    xp: ModuleType, u: Array, p: Array, *, max_norm: Array, norm: Array
) -> tuple[Array, ...]:
    """Return ``u`` shrunk so that the norm of the whole tree is at most ``max_norm``."""
    return (xp.where(norm < max_norm, u, over(xp, u, norm) * max_norm),)


def normalize_by_update_norm(
    xp: ModuleType, u: Array, p: Array, *, scale_factor: Array, eps: Array, norm: Array
) -> tuple[Array, ...]:
    """Return ``u`` over the norm of the whole tree."""
    return (over(xp, u, norm + eps) * scale_factor,)
