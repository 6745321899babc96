"""Adam that estimates its learning rate by Prodigy."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import adams_corrections, average, over, root
from gradmill._ops.op import Numbers, Sums, op

Array = Any


def _weight(step: Array, estim_lr: Array, estim_lr0: Array, safeguard_warmup: Array) -> Array:
    """What multiplies gradients in their sum; during a warm-up without the learning rate."""
    return (estim_lr if safeguard_warmup else step) / estim_lr0 * estim_lr


def _addends(
    xp: Any, u: Array, p: Array, _m: Array, _v: Array, grad_sum: Array, params0: Array, by: Numbers
) -> tuple[Array, Array]:
    """How far gradients point to the first parameters, and the size of their new sum."""
    step = by.estim_lr * by.learning_rate * adams_corrections(by.b1, by.b2, by.count)
    weight = _weight(step, by.estim_lr, by.estim_lr0, by.safeguard_warmup)
    return u * (params0 - p), xp.abs(by.b3 * grad_sum + weight * u)


def _estimates(xp: Any, towards: Array, size: Array, by: Numbers) -> tuple[Array, Array]:
    """The distance from the first parameters, and the average that it is estimated from."""
    step = by.estim_lr * by.learning_rate * adams_corrections(by.b1, by.b2, by.count)
    weighted = by.b3 * by.numerator_weighted + by.estim_lr / by.estim_lr0 * step * towards
    # Gradients of zero so far tell nothing of a distance.
    return xp.maximum(by.estim_lr, over(xp, by.estim_lr_coef * weighted, size)), weighted


@op(finds="estimates", sums=Sums(_addends, _estimates), fixed=("params0",))
def prodigy(
    xp: Any,
    u: Array,
    p: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    grad_sum: Array,
    params0: Array,
    *,
    b1: Array,
    b2: Array,
    b3: Array,
    eps: Array,
    estim_lr0: Array,
    estim_lr_coef: Array,
    weight_decay: Array,
    safeguard_warmup: Array,
    learning_rate: Array,
    estim_lr: Array,
    numerator_weighted: Array,
    count: Any,
    estimates: tuple[Array, Array],
) -> tuple[Array, ...]:
    """Step by Adam's moments of gradients that the last estimate has scaled."""
    step = estim_lr * learning_rate * adams_corrections(b1, b2, count)
    scaled = estim_lr * u
    exp_avg = average(b1, exp_avg, scaled)
    exp_avg_sq = average(b2, exp_avg_sq, scaled * scaled)
    grad_sum = b3 * grad_sum + _weight(step, estim_lr, estim_lr0, safeguard_warmup) * u
    size = root(xp, exp_avg_sq, 0.0, estimates[0] * eps)
    new = -weight_decay * step * p - step * exp_avg / size
    return new, exp_avg, exp_avg_sq, grad_sum, params0
