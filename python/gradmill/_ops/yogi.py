"""Updates divided by their size, which changes by bounded amounts."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, corrected_root, correction_if, sign
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
    hat: Any,
    bias_correction: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Divide the first moment by the root of a second that moves towards each square."""
    square = u * u
    mu = average(b1, mu, u)
    nu = nu - (1 - b2) * sign(xp, nu - square) * square
    share = correction_if(bias_correction, b2, count + 1.0)
    mu_hat = mu / correction_if(bias_correction, b1, count + 1.0)
    return mu_hat / corrected_root(xp, nu, share, eps_root, eps, hat), mu, nu
