"""Updates rescaled by their first two moments."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, corrected_root, correction_if, lookahead
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
    hat: Any,
    bias_correction: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Divide the corrected first moment by the root of the corrected second."""
    mu, nu = average(b1, mu, u), average(b2, nu, u * u)
    share = correction_if(bias_correction, b2, count + 1.0)
    mu_hat = mu / correction_if(bias_correction, b1, count + 1.0)
    return mu_hat / corrected_root(xp, nu, share, eps_root, eps, hat), mu, nu


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
    hat: Any,
    bias_correction: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Divide the first moment of the step to come by the root of the corrected second."""
    mu, nu = average(b1, mu, u), average(b2, nu, u * u)
    share = correction_if(bias_correction, b2, count + 1.0)
    mu_hat = lookahead(bias_correction, b1, mu, u, count)
    return mu_hat / corrected_root(xp, nu, share, eps_root, eps, hat), mu, nu
