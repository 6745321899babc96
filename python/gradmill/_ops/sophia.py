"""First moments over the diagonal of the Hessian, with a bound on each element."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction, positive
from gradmill._ops.op import op

Array = Any


@op
def scale_by_sophia(
    xp: Any,
    u: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Array,
    eps: Array,
    gamma: Array,
    threshold: Array,
    count: Any,
) -> tuple[Array, ...]:
    """Divide the first moment by what is known of the Hessian, which stays as it is."""
    mu = average(b1, mu, u)
    size = xp.maximum(gamma * nu, positive(xp, eps, nu.dtype))
    ratio = mu / correction(b1, count + 1.0) / size
    return xp.minimum(xp.maximum(ratio, -threshold), threshold), mu, nu
