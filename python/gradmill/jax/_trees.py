"""Trees of JAX: classes that are registered there, and leaves that are arrays there."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optree

from gradmill._data.arrays import DTYPES
from gradmill._data.trees import NAMESPACE, flatten

if TYPE_CHECKING:
    from gradmill._data.types import PyTree


def adopt(tree: PyTree) -> None:
    """Let gradmill see the nodes of ``tree`` that JAX sees.

    Classes registered with JAX, such as those of Flax and Equinox, are registered for gradmill as
    they are met.
    """
    seen: set[type] = {type(None)}
    while True:
        leaves = flatten(tree)[0]
        met = {type(leaf) for leaf in leaves if not jax.tree_util.all_leaves([leaf])} - seen
        if not met:
            return
        seen |= met
        for kind in met:
            # Another thread may have met it first.
            with suppress(ValueError):
                optree.register_pytree_node(kind, _children, _node, namespace=NAMESPACE)


def _children(node: Any) -> tuple[list[Any], Any, tuple[Any, ...]]:
    """The children of a node, what else there is to it, and the keys of the children."""
    pairs, treedef = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    keys = tuple(_key(path[-1]) for path, _ in pairs)
    return [child for _, child in pairs], treedef, keys


def _key(entry: Any) -> Any:
    """The key or the name behind an entry of a path."""
    for name in ("key", "name", "idx"):
        if hasattr(entry, name):
            return getattr(entry, name)
    return str(entry)


def _node(treedef: Any, children: Any) -> Any:
    return jax.tree_util.tree_unflatten(treedef, children)


def as_array(value: object) -> jax.Array:
    """``value`` as an array of floats of JAX.

    Raises:
        TypeError: It is no such array. The message continues a leaf's path.
    """
    if value is None:
        raise TypeError("is None, expected an array")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("is a masked array, whose mask would be lost; pass filled() or data")
    try:
        array: jax.Array = jnp.asarray(value)
    except TypeError:
        raise TypeError(f"is a {type(value).__name__}, not an array") from None
    if array.dtype not in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64):
        raise TypeError(f"dtype {array.dtype}, expected {DTYPES}")
    return array
