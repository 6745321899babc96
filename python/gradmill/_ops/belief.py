"""Updates over how far they are from what was expected."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction, lookahead, root
from gradmill._ops.op import op

Array = Any


@op
def scale_by_belief(
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
    """Divide the first moment by the root of the mean square of what it misses."""
    mu = average(b1, mu, u)
    nu = average(b2, nu, (u - mu) * (u - mu)) + eps_root
    nu_hat = nu / correction(b2, count + 1.0)
    return mu / correction(b1, count + 1.0) / root(xp, nu_hat, 0.0, eps), mu, nu


@op
def scale_by_belief_nesterov(
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
    """The same with the first moment of the step to come."""
    mu = average(b1, mu, u)
    nu = average(b2, nu, (u - mu) * (u - mu)) + eps_root
    nu_hat = nu / correction(b2, count + 1.0)
    return lookahead(b1, mu, u, count) / root(xp, nu_hat, 0.0, eps), mu, nu
