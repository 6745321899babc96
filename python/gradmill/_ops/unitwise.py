"""Updates that meet a number of their row, their column or their whole leaf."""

from __future__ import annotations

from typing import Any

from gradmill._ops.common import norm, over
from gradmill._ops.op import op

Array = Any


@op(finds="units", makes_steps=False)
def clip_by_block_rms(xp: Any, u: Array, *, threshold: Array) -> tuple[Array, ...]:
    """Return ``u`` shrunk so that its root mean square is at most ``threshold``."""
    rms = norm(xp, u) / xp.sqrt(xp.asarray(float(u.size)))
    shrunk = over(xp, u, rms) * threshold
    return (xp.reshape(xp.where(rms <= threshold, u, shrunk), u.shape),)


@op(finds="units")
def scale_by_trust_ratio(
    xp: Any,
    u: Array,
    p: Array,
    *,
    min_norm: Array,
    trust_coefficient: Array,
    eps: Array,
) -> tuple[Array, ...]:
    """Return ``u`` times the norm of ``p`` over its own."""
    u_norm, p_norm = (xp.maximum(norm(xp, x), min_norm) for x in (u, p))
    zero = (u_norm == 0) | (p_norm == 0)
    ratio = trust_coefficient * p_norm / (xp.where(zero, 1.0, u_norm) + eps)
    return (xp.reshape(u * xp.where(zero, 1.0, ratio), u.shape),)


@op(finds="units", makes_steps=False)
def adaptive_grad_clip(
    xp: Any,
    u: Array,
    p: Array,
    *,
    clipping: Array,
    eps: Array,
    axes: tuple[int, ...] | None,
) -> tuple[Array, ...]:
    """Return ``u`` with each unit shrunk to a multiple of the norm of its weights."""
    axes = unit_axes(u.shape) if axes is None else axes
    u_norm, max_norm = norm(xp, u, axes), clipping * xp.maximum(norm(xp, p, axes), eps)
    return (xp.where(u_norm < max_norm, u, u * (max_norm / xp.maximum(u_norm, 1e-6))),)


def unit_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that lead to one output of a layer with weights of this shape."""
    rank = len(shape)
    if sum(length != 1 for length in shape) <= 1:
        return tuple(range(rank))
    axes = {2: (0,), 3: (0,), 4: (0, 1, 2), 5: (0, 1, 2, 3)}
    if rank not in axes:
        raise ValueError(f"has {rank} axes; pass `axis` to say which of them make up a unit")
    return axes[rank]


@op(finds="units", makes_steps=False)
def centralize(xp: Any, u: Array) -> tuple[Array, ...]:
    """Return ``u`` less the mean of each row; vectors and scalars have no rows."""
    if u.ndim < 2:
        return (u,)
    return (u - xp.mean(u, axis=tuple(range(1, u.ndim)), keepdims=True),)
