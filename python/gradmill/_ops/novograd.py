"""Updates divided by a running mean of their leaf's norm."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, if_first, root, total
from gradmill._ops.op import op

Array = Any


@op(finds="units")
def scale_by_novograd(
    xp: Any,
    u: Array,
    p: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    eps_root: Array,
    weight_decay: Array,
    count: Any,
) -> tuple[Array, ...]:
    """Accumulate what is divided by the root of an average squared norm, and decayed weights."""
    square = total(xp, u * u)
    nu = if_first(count, square, average(b2, nu, square))
    size = root(xp, xp.asarray(nu, u.dtype), eps_root, eps)
    scaled = u / size + weight_decay * p
    mu = if_first(count, scaled, b1 * mu + scaled)
    return mu, mu, nu
