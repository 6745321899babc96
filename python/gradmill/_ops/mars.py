"""Updates rescaled by the moments of gradients whose variance is reduced."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, correction, if_first, root
from gradmill._ops.op import op

Array = Any


@op(finds="units", summed=("prev_grad",))
def scale_by_mars(
    xp: Any,
    u: Array,
    mu: Array,
    nu: Array,
    prev_grad: Array,
    *,
    b1: Array,
    b2: Array,
    gamma: Array,
    eps: Array,
    max_norm: Array,
    count: Any,
) -> tuple[Array, ...]:
    """Do what Adam does with the update and a multiple of its change, of bounded norm."""
    change = if_first(count, 0.0 * u, u - prev_grad)
    corrected = _bounded(xp, u + gamma * (b1 / (1 - b1)) * change, max_norm)
    mu, nu = average(b1, mu, corrected), average(b2, nu, corrected * corrected)
    mu_hat, nu_hat = mu / correction(b1, count + 1.0), nu / correction(b2, count + 1.0)
    return mu_hat / root(xp, nu_hat, 0.0, eps), mu, nu, u


def _bounded(xp: Any, x: Array, most: Array) -> Array:
    """``x``, shrunk to a norm of ``most`` where its own is larger."""
    largest = xp.max(xp.abs(x))
    unit = x / xp.where(largest > 0, largest, 1.0)
    # At least one, as the largest element is.
    size = xp.maximum(xp.sqrt(xp.sum(unit * unit)), 1.0)
    # A product of the two might be infinite.
    return xp.where(largest > most / size, unit * (most / size), x)
