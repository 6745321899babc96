"""Zeros in the place of updates that are not wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from gradmill._ops.common import Array


def set_to_zero(xp: ModuleType, u: Array, p: Array) -> tuple[Array, ...]:
    """Return zeros."""
    return (xp.zeros_like(u),)


def zero_nans(xp: ModuleType, u: Array, p: Array) -> tuple[Array, ...]:
    """Return ``u`` with zeros for NaN."""
    return (xp.where(xp.isnan(u), 0.0, u),)


def apply_if_finite(
    xp: ModuleType, u: Array, p: Array, *, accept: Array, finite: Array
) -> tuple[Array, ...]:
    """Return ``u`` if all updates are finite or ``accept`` is not 0, else zeros."""
    return (xp.where(finite | (accept != 0), u, 0.0),)
