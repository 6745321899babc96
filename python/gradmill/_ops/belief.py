"""Updates divided by how far they are from what was expected."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, corrected_root, correction_if, lookahead
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
    hat: Any,
    bias_correction: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Divide the first moment by the root of the mean square of what it misses."""
    mu = average(b1, mu, u)
    nu = average(b2, nu, (u - mu) * (u - mu)) + eps_root
    share = correction_if(bias_correction, b2, count + 1.0)
    mu_hat = mu / correction_if(bias_correction, b1, count + 1.0)
    return mu_hat / corrected_root(xp, nu, share, 0.0, eps, hat), mu, nu


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
    hat: Any,
    bias_correction: Any,
    count: Any,
) -> tuple[Array, ...]:
    """The same with the first moment of the step to come."""
    mu = average(b1, mu, u)
    nu = average(b2, nu, (u - mu) * (u - mu)) + eps_root
    share = correction_if(bias_correction, b2, count + 1.0)
    mu_hat = lookahead(bias_correction, b1, mu, u, count)
    return mu_hat / corrected_root(xp, nu, share, 0.0, eps, hat), mu, nu
