"""Adam, rectified while its second moment is young."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import average, corrected_root, correction, correction_if, lookahead
from gradmill._ops.op import op

Array = Any


@op
def scale_by_radam(
    xp: Any,
    u: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    eps_root: Array,
    threshold: Array,
    hat: Any,
    bias_correction: Any,
    count: Any,
) -> tuple[Array, ...]:
    """Divide the first moment by the root of the second once that is of use."""
    mu, nu = average(b1, mu, u), average(b2, nu, u * u)
    mu_hat = mu / correction_if(bias_correction, b1, count + 1.0)
    share = correction_if(bias_correction, b2, count + 1.0)
    size = corrected_root(xp, nu, share, eps_root, eps, hat)
    return _rectified(xp, mu_hat, size, b2, threshold, count), mu, nu


@op
def scale_by_radam_nesterov(
    xp: Any,
    u: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    eps_root: Array,
    threshold: Array,
    hat: Any,
    bias_correction: Any,
    count: Any,
) -> tuple[Array, ...]:
    """The same with the first moment of the step to come."""
    mu, nu = average(b1, mu, u), average(b2, nu, u * u)
    mu_hat = lookahead(bias_correction, b1, mu, u, count)
    share = correction_if(bias_correction, b2, count + 1.0)
    size = corrected_root(xp, nu, share, eps_root, eps, hat)
    return _rectified(xp, mu_hat, size, b2, threshold, count), mu, nu


def _rectified(xp: Any, mu_hat: Array, size: Array, b2: Any, threshold: Any, count: Any) -> Array:
    """``mu_hat / size``, less where ``size`` is an average of few squares; without it, of fewer.

    ``length`` is how many there are. The variance of ``1 / size`` is finite beyond four.
    """
    share, most = correction(b2, count + 1.0), 2 / (1 - b2) - 1
    length = most - 2 * (count + 1.0) * (1 - share) / share
    is_long = (length >= threshold) & (length > 4)
    length, most = xp.where(is_long, length, 6.0), xp.where(is_long, most, 6.0)
    square = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
    rectification = xp.asarray(xp.sqrt(square), mu_hat.dtype)
    return xp.where(is_long, rectification * mu_hat / size, mu_hat)
