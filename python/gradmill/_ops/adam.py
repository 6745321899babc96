"""Updates rescaled by their first two moments."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction, lookahead, root
from gradmill._ops.op import op

Array = Any


@op
def scale_by_adam(
    xp: Any,
    u: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    eps_root: Array,
    count: Any,
) -> tuple[Array, ...]:
    """Divide the corrected first moment by the root of the corrected second."""
    mu, nu = average(b1, mu, u), average(b2, nu, u * u)
    mu_hat, nu_hat = mu / correction(b1, count + 1.0), nu / correction(b2, count + 1.0)
    return mu_hat / root(xp, nu_hat, eps_root, eps), mu, nu


@op
def scale_by_adam_nesterov(
    xp: Any,
    u: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    eps_root: Array,
    count: Any,
) -> tuple[Array, ...]:
    """Divide the first moment of the step to come by the root of the corrected second."""
    mu, nu = average(b1, mu, u), average(b2, nu, u * u)
    nu_hat = nu / correction(b2, count + 1.0)
    return lookahead(b1, mu, u, count) / root(xp, nu_hat, eps_root, eps), mu, nu
