"""Updates rescaled by moments of themselves and of their differences."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction, root
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
    count: Any,
) -> tuple[Array, ...]:
    """Divide a moment with a share of that of differences by the root of a square's."""
    difference = xp.where(count == 0, 0.0, u - g)
    ahead = u + (1 - b2) * difference
    m, v, n = average(b1, m, u), average(b2, v, difference), average(b3, n, ahead * ahead)
    steps = count + 1.0
    m_hat, v_hat = m / correction(b1, steps), v / correction(b2, steps)
    denominator = root(xp, n / correction(b3, steps), eps_root, eps)
    return (m_hat + (1 - b2) * v_hat) / denominator, m, v, n, u
