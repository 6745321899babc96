"""Updates over the root of their average square, or over their standard deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._ops.common import moments, root

if TYPE_CHECKING:
    from types import ModuleType

    from gradmill._ops.common import Array


def scale_by_rms(
    xp: ModuleType,
    u: Array,
    p: Array,
    nu: Array,
    *,
    decay: Array,
    eps: Array,
    eps_root: Array,
    correction: Array,
) -> tuple[Array, ...]:
    """Divide by the root of the average square."""
    nu = decay * nu + (1 - decay) * u * u
    return u / root(xp, nu / correction, eps_root, eps), nu


def scale_by_stddev(
    xp: ModuleType,
    u: Array,
    p: Array,
    mu: Array,
    nu: Array,
    *,
    decay: Array,
    eps: Array,
    eps_root: Array,
    correction: Array,
) -> tuple[Array, ...]:
    """Divide by the standard deviation over time; rounding makes no variance negative."""
    mu, nu = moments(u, mu, nu, decay, decay)
    nu_hat, square = nu / correction, (mu / correction) ** 2
    none = xp.where(xp.isfinite(nu_hat), 0.0, nu_hat)
    variance = xp.where(nu_hat <= square, none, nu_hat - square)
    return u / root(xp, variance, eps_root, eps), mu, nu
