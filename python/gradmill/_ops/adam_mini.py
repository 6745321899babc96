"""Updates rescaled by one second moment for each block of a leaf."""

from __future__ import annotations

from itertools import chain
from typing import Any

from gradmill._ops.common import average, correction, root, total
from gradmill._ops.op import op

Array = Any


@op
def scale_by_adam_mini(
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
    """Divide the corrected first moment by the root of the mean second moment of its block."""
    # Along each axis, how many blocks there are and how long they are.
    pairs = [(blocks, size // blocks) for blocks, size in zip(nu.shape, u.shape, strict=True)]
    within, inside = list(chain(*pairs)), tuple(range(1, 2 * u.ndim, 2))
    blocks = xp.reshape(u, within)
    mean = total(xp, blocks * blocks, inside) * (nu.size / u.size)
    mu, nu = average(b1, mu, u), average(b2, nu, xp.asarray(mean, u.dtype))
    size = root(xp, nu / correction(b2, count + 1.0), eps_root, eps)
    mu_hat = xp.reshape(mu / correction(b1, count + 1.0), within)
    return xp.reshape(mu_hat / xp.expand_dims(size, inside), u.shape), mu, nu
