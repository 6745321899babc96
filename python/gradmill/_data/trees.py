"""Trees of arrays, based on optree. ``None`` is a leaf without an array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import optree

from gradmill import _core
from gradmill._data.codes import Quantized
from gradmill._data.nodes import NAMESPACE, are_leaves, nodes_among, register

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gradmill._data.types import PyTree

Treespec = optree.PyTreeSpec


def flatten(
    tree: PyTree, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[Any], Treespec]:
    """The leaves, ``None`` among them, and the structure."""
    seen: set[type] = set()
    while True:
        leaves, spec = optree.tree_flatten(tree, is_leaf, none_is_leaf=True, namespace=NAMESPACE)
        if are_leaves(leaves):
            return leaves, spec
        nodes = [leaf for leaf in leaves if is_leaf is None or not is_leaf(leaf)]
        met = nodes_among(nodes) - seen
        if not met:
            return leaves, spec
        register(met)
        seen |= met


def flatten_one_level(tree: PyTree) -> Any:
    """The first node of a tree, taken apart by optree; None where that is a leaf."""
    if optree.tree_is_leaf(tree, none_is_leaf=True, namespace=NAMESPACE):
        met = nodes_among([tree])
        if not met:
            return None
        register(met)
    return optree.tree_flatten_one_level(tree, none_is_leaf=True, namespace=NAMESPACE)


class MaskedNode(NamedTuple):
    """Stands for a leaf or a subtree that a mask leaves out.

    It has no leaves itself, so maps over the tree skip it.

    Example:
        >>> import gradmill as gm
        >>> gm.MaskedNode()
        MaskedNode()
    """


HOLE = MaskedNode()


class Structure:
    """The structure of a tree, by which others are taken apart.

    Attributes:
        spec: It, for optree.
        nest: It, for the core; None where it has other nodes than dicts, lists and tuples.
    """

    __slots__ = ("nest", "spec")

    def __init__(self, spec: Treespec, nest: _core.Nest | None = None) -> None:
        self.spec = spec
        self.nest = nest

    def exact(self, tree: PyTree, kinds: tuple[type[Any], ...]) -> list[Any] | None:
        """The leaves of a tree that is soon seen to have this structure and leaves of these kinds.

        None for any other, and where the structure has other nodes than dicts, lists and tuples.
        """
        if self.nest is None:
            return None
        try:
            return self.nest.take(tree, kinds)
        except Exception:  # noqa: BLE001  (to look for a key is to run the code of its class)
            return None

    def rebuild(self, leaves: list[Any]) -> PyTree:
        """The tree with other leaves."""
        return self.spec.unflatten(leaves) if self.nest is None else self.nest.build(leaves)


ARRAYS: tuple[type[Any], ...] = (np.ndarray, type(None))
"""The kinds of most leaves."""
ARRAYS_AND_HOLES = (*ARRAYS, MaskedNode, Quantized)

_DEEP = 100
"""Trees of more levels are not looked into."""


def pattern_of(tree: PyTree, spec: Treespec, depth: int = 0) -> Any:
    """The structure ``spec`` of a tree as a pattern for the core.

    Raises:
        ValueError: It is a deep one, or has nodes of other classes.
    """
    if spec.is_leaf(strict=True):
        return None
    kind = type(tree)
    if depth == _DEEP or not (kind in (dict, list, tuple) or spec.kind == _NAMED):
        raise ValueError
    keys, order = [], []
    entries = spec.entries()
    if kind is dict:
        keys = entries
        places = {key: at for at, key in enumerate(keys)}
        order = [places[key] for key in tree]
    nodes = [tree[key] for key in entries] if kind is dict else list(tree)
    pairs = zip(nodes, spec.children(), strict=True)
    return kind, [pattern_of(node, child, depth + 1) for node, child in pairs], keys, order


_NAMED = optree.PyTreeKind.NAMEDTUPLE


def structure_of(tree: PyTree, spec: Treespec) -> Structure:
    """The structure ``spec`` of a tree, by which others like it are soon taken apart."""
    try:
        return Structure(spec, _core.Nest(pattern_of(tree, spec)))
    except Exception:  # noqa: BLE001  (keys may be of any class)
        return Structure(spec)


class Flattener:
    """Flattens trees, and remembers the last structure to recognise it quickly.

    Attributes:
        last: The structure of the last tree.
    """

    def __init__(self) -> None:
        self.last = Structure(flatten(None)[1])

    def __call__(self, tree: PyTree) -> tuple[list[Any], Structure]:
        """The leaves, ``None`` among them, and the structure."""
        # Read once: another thread may replace it at any time.
        last = self.last
        leaves = last.exact(tree, ARRAYS)
        if leaves is not None:
            return leaves, last
        leaves, spec = flatten(tree)
        self.last = structure = structure_of(tree, spec)
        return leaves, structure


def tree_map(function: Callable[[Any], Any], tree: PyTree) -> PyTree:
    """``function`` of each leaf that is not ``None``."""
    leaves, spec = flatten(tree)
    return spec.unflatten([None if leaf is None else function(leaf) for leaf in leaves])


def leaf_path(spec: Treespec, leaf: int, root: str) -> str:
    """The expression that leads from ``root`` to the leaf, such as ``params['dense'][0]``."""
    return spec.accessors()[leaf].codify(root)


class Path(str):
    """The way to a leaf: its keys joined by ``/``, with the keys themselves in ``keys``.

    Example:
        >>> import gradmill as gm
        >>> path = gm.Path(("dense", "bias"))
        >>> path, path.keys, "bias" in path
        ('dense/bias', ('dense', 'bias'), True)
    """

    __slots__ = ("keys",)
    keys: tuple[Any, ...]

    def __new__(cls, keys: Iterable[Any]) -> Self:
        """Join the keys."""
        keys = tuple(keys)
        self = super().__new__(cls, "/".join(map(str, keys)))
        self.keys = keys
        return self
