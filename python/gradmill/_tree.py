"""Trees of arrays, by way of optree. ``None`` is a leaf that has no array."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Self

import optree

from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gradmill._base import PyTree
    from gradmill._spec import Mask

NAMESPACE = "gradmill"
"""Classes registered with optree globally or in this namespace are nodes."""

Treespec = optree.PyTreeSpec


def flatten(tree: PyTree) -> tuple[list[Any], Treespec]:
    """The leaves, ``None`` among them, and the structure."""
    leaves, spec = optree.tree_flatten(tree, none_is_leaf=True, namespace=NAMESPACE)
    return leaves, spec


def flatten_like(spec: Treespec, tree: PyTree, name: str, like: str) -> list[Any]:
    """The leaves of ``tree``, which must have the structure ``spec``.

    Raises:
        TreeError: It has another one.
    """
    try:
        return spec.flatten_up_to(tree)
    except ValueError as error:
        raise TreeError(f"{name} does not match {like}: {error}") from None


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
        >>> from gradmill._tree import Path
        >>> path = Path(("dense", "bias"))
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


def mask_leaves(mask: Mask, tree: PyTree, spec: Treespec) -> list[bool]:
    """Whether each leaf of ``tree`` takes part.

    Args:
        mask: A tree of bools with the structure of ``tree`` or of its upper part, one bool, a
            function of the tree that returns such a tree, or a function of path and leaf that
            returns a bool.
        tree: The tree to select from.
        spec: Its structure.

    Raises:
        TreeError: The mask's structure is none of the tree's.
        TypeError: A leaf of the mask is not a bool.
    """
    if callable(mask):
        if _required_positionals(mask) == 2:
            return [
                _as_bool(mask(Path(path), leaf))
                for path, leaf in zip(spec.paths(), spec.flatten_up_to(tree), strict=True)
            ]
        mask = mask(tree)
    try:
        leaves = optree.broadcast_prefix(mask, tree, none_is_leaf=True, namespace=NAMESPACE)
    except ValueError as error:
        raise TreeError(f"mask does not match the tree it selects from: {error}") from None
    return [_as_bool(leaf) for leaf in leaves]


def _as_bool(value: object) -> bool:
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    raise TypeError(f"a mask has bools as leaves, got {value!r}")


def _required_positionals(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)
