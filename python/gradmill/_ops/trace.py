"""A decaying sum of updates."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op
def trace(xp: Any, u: Array, trace: Array, *, decay: Array) -> tuple[Array, ...]:
    """Accumulate ``t = u + decay * t`` and return it."""
    trace = u + decay * trace
    return trace, trace


@op
def trace_nesterov(xp: Any, u: Array, trace: Array, *, decay: Array) -> tuple[Array, ...]:
    """Accumulate ``t = u + decay * t`` and return ``u + decay * t``, one step ahead."""
    trace = u + decay * trace
    return u + decay * trace, trace
