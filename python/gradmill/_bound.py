"""Whether a tree still holds the arrays that an optimizer is bound to, and copies of these."""

from __future__ import annotations

import operator
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import optree

from gradmill._tree import NAMESPACE, flatten, flatten_like, leaf_path
from gradmill.errors import LeafValueError, TreeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._base import PyTree
    from gradmill._tree import Treespec

Small: TypeAlias = "list[tuple[tuple[Any, ...], Any]]"
"""Leaves that may equal others, each with the keys that lead to it."""


class _Anything:
    """Equals whatever it is compared with."""

    __slots__ = ()
    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return True


ANYTHING = _Anything()
"""Stands among the leaves that are bound for one that steps do not write."""


def watched(
    trees: tuple[PyTree, PyTree], spec: Treespec, leaves: Sequence[Any]
) -> tuple[Any, Small]:
    """What equals ``trees`` as long as they have their leaves, but for those to be looked at alone.

    To compare them takes a fraction of the time of flattening: containers look for the very same
    object before they ask it. Where they do ask, arrays of two elements or more have no truth
    value. Trees with containers of the user's own are equal to nothing, nor are those with more
    than a few leaves that have one.
    """
    small: Small = []
    free: set[tuple[Any, ...]] = set()
    if any(leaf is ANYTHING for leaf in leaves):
        pairs = zip(spec.paths(), leaves, strict=True)
        paths = [path for path, leaf in pairs if leaf is ANYTHING]
        free = {(root, *path) for root in range(len(trees)) for path in paths}
    copy = _copied(trees, small, free, ())
    return (copy, small) if len(small) <= _FEW else (object(), [])


_FEW = 8


def _copied(tree: PyTree, small: Small, free: set[tuple[Any, ...]], keys: tuple[Any, ...]) -> Any:
    """New containers around the leaves of ``tree``; leaves that may equal others are collected."""
    if optree.tree_is_leaf(tree, none_is_leaf=True, namespace=NAMESPACE):
        if keys in free:
            return ANYTHING
        if tree is not None and not (isinstance(tree, np.ndarray) and tree.size > 1):
            small.append((keys, tree))
        return tree
    if len(keys) < _DEEP:
        if type(tree) in _MAPPINGS:
            return {key: _copied(child, small, free, (*keys, key)) for key, child in tree.items()}
        if type(tree) in _SEQUENCES or optree.is_namedtuple_instance(tree):
            children = [_copied(child, small, free, (*keys, at)) for at, child in enumerate(tree)]
            return children if isinstance(tree, list) else tuple(children)
    return object()


_DEEP = 100
"""Trees of more levels are not looked into."""

_MAPPINGS = {dict, OrderedDict, defaultdict}
_SEQUENCES = {list, tuple}


def has_moved(trees: PyTree, small: Small) -> bool:
    """Whether one of the leaves in ``small`` has left its place."""
    for keys, leaf in small:
        node = trees
        for key in keys:
            node = node[key]
        if node is not leaf:
            return True
    return False


def check_bound(spec: Treespec, tree: PyTree, name: str, leaves: Sequence[Any]) -> None:
    """See that the leaves of ``tree`` are these very objects, or stand where anything may.

    Raises:
        TreeError: It has another structure.
        LeafValueError: It has another leaf; the message names it.
    """
    now = leaves_now(spec, tree, name)
    for index, is_own in enumerate(map(operator.is_, now, leaves)):
        if not is_own and leaves[index] is not ANYTHING:
            path = leaf_path(spec, index, name)
            raise LeafValueError(
                f"{path}: is another array than the one that steps write to; write into that one,"
                f" as in {path}[...] = values, or call opt.load(opt.params) to go on with this one"
            )


def leaves_now(spec: Treespec, tree: PyTree, name: str) -> list[Any]:
    """The leaves of a tree whose structure may have changed since an optimizer was bound to it.

    Raises:
        TreeError: It has.
    """
    try:
        # Anything may stand in the place of a leaf: whether it is the same is seen later.
        return spec.flatten_up_to(tree)
    except ValueError:
        pass
    try:
        return flatten_like(spec, tree, name, "the tree that is bound")
    except TreeError as error:
        raise TreeError(f"{error}; a changed tree needs a new Optimizer") from None


def owned(tree: PyTree) -> PyTree:
    """``tree`` with copies of those arrays that are read-only or lie in a file.

    Whoever unpickles may be handed such: joblib maps large arrays into its workers.
    """
    leaves, spec = flatten(tree)
    if not any(map(_is_lent, leaves)):
        return tree
    return spec.unflatten([np.array(x, order="K") if _is_lent(x) else x for x in leaves])


def _is_lent(leaf: Any) -> bool:
    if not isinstance(leaf, np.ndarray):
        return False
    return not leaf.flags.writeable or getattr(leaf, "_mmap", None) is not None
