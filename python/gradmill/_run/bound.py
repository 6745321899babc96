"""Whether a tree still holds the arrays that an optimizer is bound to, and copies of these."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.trees import flatten, leaf_path
from gradmill._plan.match import flatten_like
from gradmill.errors import LeafTypeError, LeafValueError, TreeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.trees import Treespec
    from gradmill._data.types import PyTree

ANYTHING = object()
"""Stands among the leaves that are bound for one that steps do not write."""


def addresses(leaves: Sequence[Any], unbound: set[int]) -> list[int]:
    """Where each leaf is, by which the core knows it; 0 for one that steps do not write."""
    return [0 if at in unbound else id(leaf) for at, leaf in enumerate(leaves)]


def without(leaves: Sequence[Any], kept: set[int]) -> list[Any]:
    """These leaves, with None in the place of those that are no parameters."""
    return [None if at in kept else leaf for at, leaf in enumerate(leaves)]


def to_zero(spec: Treespec, updates: Sequence[Any]) -> dict[int, np.ndarray[Any, Any]]:
    """The arrays of gradients, which are to be overwritten, by the positions of their leaves.

    Raises:
        LeafTypeError: One is not a NumPy array.
        LeafValueError: One is read-only.
    """
    found: dict[int, np.ndarray[Any, Any]] = {}
    for index, leaf in enumerate(updates):
        if leaf is None:
            continue
        if not isinstance(leaf, np.ndarray):
            path = leaf_path(spec, index, "updates")
            raise LeafTypeError(f"{path}: a {type(leaf).__name__} cannot be zeroed in place")
        if not leaf.flags.writeable:
            raise LeafValueError(f"{leaf_path(spec, index, 'updates')}: is read-only")
        found[index] = leaf
    return found


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
                f"{path}: was replaced by another array; write into the original,"
                f" as in {path}[...] = values, or call opt.load(opt.params) to continue with the"
                " new one"
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
