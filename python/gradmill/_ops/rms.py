"""Updates divided by their recent size."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction, root
from gradmill._ops.op import op

Array = Any


@op
def scale_by_rms(
    xp: Any,
    u: Array,
    nu: Array,
    *,
    decay: Array,
    eps: Array,
    eps_root: Array,
    bias_correction: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Divide by the root of the average square."""
    nu = average(decay, nu, u * u)
    nu_hat = nu / correction(decay, count + 1.0) if bias_correction else nu
    return u / root(xp, nu_hat, eps_root, eps), nu


@op
def scale_by_stddev(
    xp: Any,
    u: Array,
    mu: Array,
    nu: Array,
    *,
    decay: Array,
    eps: Array,
    eps_root: Array,
    bias_correction: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Divide by the standard deviation over time; rounding makes no variance negative."""
    mu, nu = average(decay, mu, u), average(decay, nu, u * u)
    share = correction(decay, count + 1.0) if bias_correction else 1.0
    nu_hat, square = nu / share, (mu / share) ** 2
    none = xp.where(xp.isfinite(nu_hat), 0.0, nu_hat)
    variance = xp.where(nu_hat <= square, none, nu_hat - square)
    return u / root(xp, variance, eps_root, eps), mu, nu
