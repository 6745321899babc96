"""Updates divided by how far earlier ones were from their mean."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction, if_first, root
from gradmill._ops.op import op

Array = Any


@op
def scale_by_acprop(
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
    """Divide by the root of the last mean square of what the first moment missed."""
    nu_hat = nu / correction(b2, if_first(count, 1.0, count))
    size = if_first(count, 1.0 + eps, root(xp, nu_hat, 0.0, eps))
    missed = u - mu
    return u / size, average(b1, mu, u), average(b2, nu, missed * missed) + eps_root
