"""Updates collected over several steps."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op(makes_steps=False)
def apply_every(
    xp: Any, u: Array, grad_acc: Array, *, first: Array, emit: Array
) -> tuple[Array, ...]:
    """Collect a sum and return it in the last step of a round, else zeros."""
    grad_acc = xp.where(first != 0, u, grad_acc + u)
    return xp.where(emit != 0, grad_acc, 0.0), grad_acc


@op(makes_steps=False)
def multi_steps_sum(
    xp: Any, u: Array, acc_grads: Array, *, collected: Array, emit: Array, skip: Array
) -> tuple[Array, ...]:
    """Collect a sum and return it in the last step of a round, else zeros."""
    return _collect(xp, acc_grads, acc_grads + u, emit, skip)


@op(makes_steps=False)
def multi_steps_mean(
    xp: Any, u: Array, acc_grads: Array, *, collected: Array, emit: Array, skip: Array
) -> tuple[Array, ...]:
    """Collect a mean and return it in the last step of a round, else zeros."""
    mean = acc_grads + (u - acc_grads) / (collected + 1)
    return _collect(xp, acc_grads, mean, emit, skip)


def _collect(xp: Any, old: Array, new: Array, emit: Array, skip: Array) -> tuple[Array, ...]:
    """Return ``new`` and start again if it is handed on; keep ``old`` if the update is skipped."""
    emits = (emit != 0) & (skip == 0)
    kept = xp.where(skip != 0, old, xp.where(emits, 0.0, new))
    return xp.where(emits, new, 0.0), kept
