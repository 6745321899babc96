"""What several formulas are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

Array = Any


def over(xp: ModuleType, u: Array, d: Array) -> Array:
    """``u / d``, or zero where ``d`` is zero: a norm of zero is one of zeros."""
    return xp.where(d == 0, 0.0, u / xp.where(d == 0, 1.0, d))


def root(xp: ModuleType, v: Array, eps_root: Array, eps: Array) -> Array:
    """``sqrt(v + eps_root) + eps``, which is not zero where a square vanished in ``v``.

    The least epsilon changes no bit of the root of a normal number.
    """
    limits = xp.finfo(v.dtype)
    least = float(limits.tiny) ** 0.5 * float(limits.eps) / 8
    return xp.sqrt(v + eps_root) + xp.maximum(eps, least)


def moments(u: Array, mu: Array, nu: Array, b1: Array, b2: Array) -> tuple[Array, Array]:
    """The averages of the update and of its square, one step on."""
    return b1 * mu + (1 - b1) * u, b2 * nu + (1 - b2) * u * u
