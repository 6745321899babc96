"""Gaussian noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from gradmill._ops.common import Array


def add_noise(
    xp: ModuleType, u: Array, p: Array, *, std: Array, key0: Array, key1: Array, normal: Array
) -> tuple[Array, ...]:
    """Return ``u + std * normal``."""
    return (u + std * normal,)
