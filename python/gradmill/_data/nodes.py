"""Classes that JAX takes for nodes of trees, such as those of Flax and Equinox.

They are registered for this package as they are met, wherever a tree is taken apart.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import optree

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMESPACE = "gradmill"
"""Classes registered with optree globally or in this namespace are nodes."""

_LEAVES: set[type] = {np.ndarray, type(None), bool, int, float, complex, str, bytes}
"""Classes that are no nodes. Of others JAX is asked each time, as they may become such."""

_FROM_JAX: set[type] = set()
"""Classes that were registered as JAX has them."""


def are_leaves(values: Iterable[Any]) -> bool:
    """Whether it is known without asking that these are no nodes."""
    return _LEAVES.issuperset(map(type, values))


def is_from_jax(value: object) -> bool:
    """Whether a value is a node since JAX takes it for one."""
    return type(value) in _FROM_JAX


def nodes_among(leaves: Iterable[Any]) -> set[type]:
    """The classes of those leaves that JAX takes for nodes."""
    # Not imported here: whoever has such a class has JAX.
    tree_util: Any = getattr(sys.modules.get("jax"), "tree_util", None)
    found: set[type] = set()
    if tree_util is None:
        return found
    for leaf in leaves:
        kind = type(leaf)
        if kind in _LEAVES or kind in found:
            continue
        if issubclass(kind, np.generic) or hasattr(kind, "__array_namespace__"):
            _LEAVES.add(kind)
        elif not tree_util.all_leaves([leaf]):
            found.add(kind)
    return found


def register(kinds: Iterable[type]) -> None:
    """Make nodes of instances of these classes."""
    for kind in kinds:
        _FROM_JAX.add(kind)
        # Another thread may have met it first.
        with suppress(ValueError):
            optree.register_pytree_node(kind, _children, _node, namespace=NAMESPACE)


def _children(node: Any) -> tuple[list[Any], Any, tuple[Any, ...]]:
    """The children of a node, what else there is to it, and the keys of the children."""
    tree_util: Any = sys.modules["jax"].tree_util
    pairs, treedef = tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    keys = tuple(_key(path[-1]) for path, _ in pairs)
    return [child for _, child in pairs], treedef, keys


def _key(entry: Any) -> Any:
    """The key or the name behind an entry of a path."""
    for name in ("key", "name", "idx"):
        if hasattr(entry, name):
            return getattr(entry, name)
    return str(entry)


def _node(treedef: Any, children: Any) -> Any:
    return treedef.unflatten(children)
