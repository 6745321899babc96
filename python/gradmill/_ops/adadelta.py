"""Updates rescaled to the size of earlier ones."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, root
from gradmill._ops.op import op

Array = Any


@op
def scale_by_adadelta(
    xp: Any, u: Array, e_g: Array, e_x: Array, *, rho: Array, eps: Array
) -> tuple[Array, ...]:
    """Multiply by the root of the average squared result over that of the average square."""
    e_g = average(rho, e_g, u * u)
    delta = xp.sqrt(e_x + eps) / root(xp, e_g, eps, 0.0) * u
    return delta, e_g, average(rho, e_x, delta * delta)
