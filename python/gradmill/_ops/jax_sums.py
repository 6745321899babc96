"""What spans leaves, and what clips examples, on JAX arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.types import PyTree


def global_norm(tree: PyTree) -> Any:
    """The Euclidean norm of all leaves together, also where squares leave the dtype's range."""
    leaves = jax.tree.leaves(tree)
    if not leaves:
        return jnp.zeros(())
    dtype = jnp.result_type(jnp.float32, *leaves)
    leaves = [jnp.asarray(leaf, dtype) for leaf in leaves]
    scale = 2.0 ** (100 if dtype == jnp.float32 else 600)

    def again(squares: Any) -> Any:
        factor = jnp.where(squares < 1, scale, 1 / scale).astype(dtype)
        # XLA would square a constant leaf and the factor each for itself: 0 times infinity.
        scaled = jax.lax.optimization_barrier([leaf * factor for leaf in leaves])
        return jnp.sqrt(_squares(scaled)) / factor

    squares = _squares(leaves)
    # An infinite sum may come from large numbers; a small one has lost what was smaller still.
    is_safe = jnp.isfinite(squares) & (squares >= 1e-30)
    return jax.lax.cond(is_safe, jnp.sqrt, again, squares)


def _squares(leaves: Sequence[Any]) -> Any:
    return sum(jnp.sum(leaf * leaf) for leaf in leaves)


def all_finite(leaves: Sequence[Any]) -> Any:
    """Whether each element of all leaves is finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves] or [True]).all()


def count_not_finite(tree: PyTree) -> Any:
    """How many elements of all leaves are not finite, as an int32."""
    counts = [jnp.sum(~jnp.isfinite(leaf), dtype=jnp.int32) for leaf in jax.tree.leaves(tree)]
    return sum(counts, start=jnp.zeros((), jnp.int32))


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
