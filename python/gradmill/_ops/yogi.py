"""Updates over their size, which changes by bounded steps."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction, root, sign
from gradmill._ops.op import op

Array = Any


@op
def scale_by_yogi(
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
    """Divide the first moment by the root of a second that moves towards each square."""
    square = u * u
    mu = average(b1, mu, u)
    nu = nu - (1 - b2) * sign(xp, nu - square) * square
    nu_hat = nu / correction(b2, count + 1.0)
    return mu / correction(b1, count + 1.0) / root(xp, nu_hat, eps_root, eps), mu, nu
