"""Updates divided by their largest second moment so far."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction_if, root
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
    hat: Any,
    bias_correction_mu: Any,
    bias_correction_nu: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Divide the first moment by the root of the largest second moment so far."""
    mu, nu = average(b1, mu, u), average(b2, nu, u * u)
    mu_hat = mu / correction_if(bias_correction_mu, b1, count + 1.0)
    share = correction_if(bias_correction_nu, b2, count + 1.0)
    nu_max = xp.maximum(nu_max, nu if hat else nu / share)
    size = root(xp, nu_max, eps_root, eps) / (share**0.5 if hat else 1.0)
    return mu_hat / size, mu, nu, nu_max
