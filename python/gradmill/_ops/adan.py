"""Updates rescaled by moments of themselves and of their differences."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, corrected_root, correction_if
from gradmill._ops.op import op

Array = Any


@op
def scale_by_adan(
    xp: Any,
    u: Array,
    m: Array,
    v: Array,
    n: Array,
    g: Array,
    *,
    b1: Array,
    b2: Array,
    b3: Array,
    eps: Array,
    eps_root: Array,
    hat: Any,
    bias_correction: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Divide a moment with a share of that of differences by the root of a square's."""
    difference = xp.where(count == 0, 0.0, u - g)
    ahead = u + (1 - b2) * difference
    m, v, n = average(b1, m, u), average(b2, v, difference), average(b3, n, ahead * ahead)
    m_share, v_share, n_share = (
        correction_if(bias_correction, decay, count + 1.0) for decay in (b1, b2, b3)
    )
    numerator = m / m_share + (1 - b2) * (v / v_share)
    return numerator / corrected_root(xp, n, n_share, eps_root, eps, hat), m, v, n, u
