"""What is found out about all leaves together, on arrays of JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._base import PyTree


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
        return jnp.sqrt(_squares([leaf * factor for leaf in leaves])) / factor

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
