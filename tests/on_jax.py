"""Trees as JAX has them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def to_jax(tree: Any) -> Any:
    """The same tree with arrays of JAX."""
    return jax.tree.map(jnp.asarray, tree)


def words_of_keys(tree: Any) -> Any:
    """With the words of typed keys in place of the keys."""

    def words(leaf: Any) -> Any:
        is_key = jnp.issubdtype(getattr(leaf, "dtype", np.bool_), jax.dtypes.prng_key)
        return jax.random.key_data(leaf) if is_key else leaf

    return jax.tree.map(words, tree)


def to_numpy(tree: Any) -> Any:
    """The same tree with arrays of NumPy."""
    return jax.tree.map(np.asarray, words_of_keys(tree))
