"""Updates rescaled by two first moments, of which one is slow, and a second one."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, corrected_root, correction, correction_if, root
from gradmill._ops.op import op

Array = Any


@op
def scale_by_ademamix(
    xp: Any,
    u: Array,
    m1: Array,
    m2: Array,
    nu: Array,
    *,
    b1: Array,
    b2: Array,
    b3: Array,
    alpha: Array,
    eps: Array,
    eps_root: Array,
    hat: Any,
    bias_correction: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Divide the corrected first moment and a multiple of the slow one by that of Adam."""
    m1, m2, nu = average(b1, m1, u), average(b3, m2, u), average(b2, nu, u * u)
    share = correction_if(bias_correction, b2, count + 1.0)
    m1_hat = m1 / correction_if(bias_correction, b1, count + 1.0)
    return (m1_hat + alpha * m2) / corrected_root(xp, nu, share, eps_root, eps, hat), m1, m2, nu


@op
def scale_by_simplified_ademamix(
    xp: Any,
    u: Array,
    m: Array,
    n: Array,
    *,
    b1: Array,
    b2: Array,
    alpha: Array,
    eps: Array,
    eps_root: Array,
    count: Any,
) -> tuple[Array, ...]:
    """Divide a sum of decayed updates and a multiple of the last one by the root of Adam."""
    # An infinity becomes a NaN, a square beyond the largest number an infinity.
    m, n = b1 * m + u, average(b2, n, u * u) + 0.0 * u
    n_hat = n / correction(b2, count + 1.0)
    return (m + alpha * u) / root(xp, n_hat, eps_root, eps), m, n
