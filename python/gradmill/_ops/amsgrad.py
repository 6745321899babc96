"""Updates over the largest size in the past."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction, root
from gradmill._ops.op import op

Array = Any


@op
def scale_by_amsgrad(
    xp: Any,
    u: Array,
    mu: Array,
    nu: Array,
    nu_max: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    eps_root: Array,
    bias_correction_mu: Any,
    bias_correction_nu: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Divide the first moment by the root of the largest second moment so far."""
    mu, nu = average(b1, mu, u), average(b2, nu, u * u)
    mu_hat = mu / correction(b1, count + 1.0) if bias_correction_mu else mu
    nu_hat = nu / correction(b2, count + 1.0) if bias_correction_nu else nu
    nu_max = xp.maximum(nu_max, nu_hat)
    return mu_hat / root(xp, nu_max, eps_root, eps), mu, nu, nu_max
