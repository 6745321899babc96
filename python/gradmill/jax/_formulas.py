"""What formulas need from JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from gradmill._ops.jax_sums import all_finite, global_norm
from gradmill._ops.walk import Library

if TYPE_CHECKING:
    from collections.abc import Sequence


class _OnJax(Library):
    """Arrays of JAX."""

    xp = jnp

    def norm(self, leaves: Sequence[Any]) -> Any:
        """The Euclidean norm of all leaves together."""
        return global_norm(leaves)

    def all_finite(self, leaves: Sequence[Any]) -> Any:
        """Whether each element of all leaves is finite."""
        return all_finite(leaves)

    def total(self, arrays: Sequence[Any]) -> Any:
        """The sum of all elements of some arrays."""
        return sum(jnp.sum(array) for array in arrays)

    def normal(self, words: Sequence[Any], leaves: Sequence[Any]) -> list[Any]:
        """Normally distributed numbers for each leaf, drawn with a key of two words."""
        data = jnp.stack([jnp.asarray(word, jnp.uint32) for word in words])
        keys = jax.random.split(jax.random.wrap_key_data(data, impl="threefry2x32"), len(leaves))
        pairs = zip(keys, leaves, strict=True)
        return [jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in pairs]


ON_JAX = _OnJax()
"""The library of JAX."""
