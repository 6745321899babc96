"""Updates set to zero."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op(zeroes=True)
def set_to_zero(xp: Any, u: Array) -> tuple[Array, ...]:
    """Return zeros."""
    return (xp.zeros_like(u),)


@op(finds="nans", makes_steps=False)
def zero_nans(xp: Any, u: Array) -> tuple[Array, ...]:
    """Return ``u`` with zeros for NaN."""
    return (xp.where(xp.isnan(u), 0.0, u),)


@op(finds="finite")
def apply_if_finite(xp: Any, u: Array, *, accept: Array, finite: Array) -> tuple[Array, ...]:
    """Return ``u`` if all updates are finite or ``accept`` is not 0, else zeros."""
    return (xp.where(finite | (accept != 0), u, 0.0),)
