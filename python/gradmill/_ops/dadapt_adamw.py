"""AdamW that estimates its learning rate by D-adaptation."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import adams_corrections, average, over, root
from gradmill._ops.op import Numbers, Sums, op

Array = Any


def _addends(
    xp: Any, u: Array, _p: Array, _m: Array, exp_avg_sq: Array, grad_sum: Array, by: Numbers
) -> tuple[Array, Array]:
    """How far gradients point along their average of before, and the size of the new one."""
    step = by.estim_lr * by.learning_rate * adams_corrections(by.b1, by.b2, by.count)
    along = u * (grad_sum / root(xp, exp_avg_sq, 0.0, by.eps))
    return along, xp.abs(average(by.b2**0.5, grad_sum, step * u))


def _estimates(xp: Any, along: Array, size: Array, by: Numbers) -> tuple[Array, Array]:
    """The learning rate, and the average that it is estimated from."""
    step = by.estim_lr * by.learning_rate * adams_corrections(by.b1, by.b2, by.count)
    kept = by.b2**0.5
    weighted = average(kept, by.numerator_weighted, step * along)
    # Gradients of zero so far tell nothing of a distance.
    return xp.maximum(by.estim_lr, over(xp, weighted, (1 - kept) * size)), weighted


@op(finds="estimates", sums=Sums(_addends, _estimates))
def dadapt_adamw(
    xp: Any,
    u: Array,
    p: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    grad_sum: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    weight_decay: Array,
    learning_rate: Array,
    estim_lr: Array,
    numerator_weighted: Array,
    count: Any,
) -> tuple[Array, ...]:
    """Step by Adam's moments, the first one of gradients that the estimate before has scaled."""
    step = estim_lr * learning_rate * adams_corrections(b1, b2, count)
    exp_avg = average(b1, exp_avg, step * u)
    exp_avg_sq = average(b2, exp_avg_sq, u * u)
    grad_sum = average(b2**0.5, grad_sum, step * u)
    new = -weight_decay * step * p - exp_avg / root(xp, exp_avg_sq, 0.0, eps)
    return new, exp_avg, exp_avg_sq, grad_sum
