"""Momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from gradmill._ops.common import Array


def trace(xp: ModuleType, u: Array, p: Array, trace: Array, *, decay: Array) -> tuple[Array, ...]:
    """Accumulate ``t = u + decay * t`` and return it."""
    trace = u + decay * trace
    return trace, trace


def trace_nesterov(
    xp: ModuleType, u: Array, p: Array, trace: Array, *, decay: Array
) -> tuple[Array, ...]:
    """Accumulate ``t = u + decay * t`` and return ``u + decay * t``, one step ahead."""
    trace = u + decay * trace
    return u + decay * trace, trace
