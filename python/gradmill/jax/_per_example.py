"""Gradients of single examples, shrunk and added up, on arrays of JAX."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from gradmill.jax._measures import global_norm

if TYPE_CHECKING:
    from collections.abc import Sequence


def per_example_clip(
    leaves: Sequence[Any], bound: Any, uniform: bool | None, batched: bool
) -> tuple[list[Any], list[Any]]:
    """The sums, and how many examples were shrunk.

    Args:
        leaves: Arrays with a first axis of examples, of equal lengths; without one if not
            ``batched``.
        bound: That of the norm of all leaves together.
        uniform: None to bound that; otherwise the norm of each leaf is bounded, by equal parts or
            by such that depend on its size.
        batched: Whether there is more than one example.

    Returns:
        The sums, and one count, or one for each leaf.
    """
    batches = [leaf if batched else leaf[None] for leaf in leaves]
    sizes = [math.prod(batch.shape[1:]) for batch in batches]
    if uniform is None:
        groups, bounds = [batches], [bound]
    else:
        shares = [1 / len(sizes) if uniform else size / max(sum(sizes), 1) for size in sizes]
        groups, bounds = [[batch] for batch in batches], [bound * share**0.5 for share in shares]
    factors = [_factors(group, limit) for group, limit in zip(groups, bounds, strict=True) if group]
    own = factors * len(batches) if uniform is None else factors
    sums = [
        jnp.tensordot(factor.astype(batch.dtype), batch, 1, precision="highest")
        for factor, batch in zip(own, batches, strict=True)
    ]
    return sums, [jnp.sum(factor < 1, dtype=jnp.int32) for factor in factors]


def _factors(batches: Sequence[Any], bound: Any) -> Any:
    """What each example is multiplied with; one for a norm that is NaN."""
    factors = bound / jax.vmap(global_norm)(list(batches))
    return jnp.where(factors < 1, factors, 1)
