"""Trees of arrays, by way of optree. ``None`` is a leaf that has no array."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import optree

from gradmill._spec import LabelMask, is_integer
from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from gradmill._base import PyTree
    from gradmill._spec import Labels, Mask

NAMESPACE = "gradmill"
"""Classes registered with optree globally or in this namespace are nodes."""

Treespec = optree.PyTreeSpec


def flatten(tree: PyTree) -> tuple[list[Any], Treespec]:
    """The leaves, ``None`` among them, and the structure."""
    leaves, spec = optree.tree_flatten(tree, none_is_leaf=True, namespace=NAMESPACE)
    return leaves, spec


class Flattener:
    """Flattens trees; one of the same structure as the last is recognised soon."""

    def __init__(self) -> None:
        self._known: tuple[Treespec, list[tuple[Any, ...]]] | None = None

    def __call__(self, tree: PyTree) -> tuple[list[Any], Treespec]:
        """The leaves, ``None`` among them, and the structure."""
        leaves = self._recognised(tree)
        if leaves is not None and self._known is not None:
            return leaves, self._known[0]
        leaves, spec = flatten(tree)
        dicts: list[tuple[Any, ...]] = []
        self._known = (spec, dicts) if _find_dicts(tree, (), dicts) else None
        return leaves, spec

    def _recognised(self, tree: PyTree) -> list[Any] | None:
        """The leaves of a tree of the last structure."""
        if self._known is None:
            return None
        spec, dicts = self._known
        try:
            leaves = spec.flatten_up_to(tree)
        except Exception:  # noqa: BLE001  (to compare is to run the code of classes and keys)
            return None
        # A subtree in a leaf's place passes so far, and so does another kind of dict.
        is_same = _LEAVES.issuperset(map(type, leaves)) and _are_dicts(dicts, tree)
        return leaves if is_same else None


_DEEP = 100
"""Trees of more levels are not looked into."""
_LEAVES = {np.ndarray, type(None)}


def _find_dicts(tree: PyTree, path: tuple[Any, ...], found: list[tuple[Any, ...]]) -> bool:
    """Collect the way to each dict; false for a deep tree, or one with nodes of other classes."""
    if type(tree) in _LEAVES:
        return True
    if len(path) == _DEEP:
        return False
    if type(tree) is dict:
        found.append(path)
        return all(_find_dicts(child, (*path, key), found) for key, child in tree.items())
    if isinstance(tree, (list, tuple)):
        return all(_find_dicts(child, (*path, at), found) for at, child in enumerate(tree))
    return False


def _are_dicts(paths: list[tuple[Any, ...]], tree: PyTree) -> bool:
    for path in paths:
        node = tree
        for key in path:
            node = node[key]
        if type(node) is not dict:
            return False
    return True


def flatten_like(spec: Treespec, tree: PyTree, name: str, like: str) -> list[Any]:
    """The leaves of ``tree``, which must have the structure ``spec``.

    Raises:
        TreeError: It has another one.
    """
    try:
        return spec.flatten_up_to(tree)
    except ValueError as error:
        raise mismatch(name, like, error) from None


def mismatch(name: str, like: str, error: ValueError) -> TreeError:
    """The error for a tree whose structure is another than that of ``like``."""
    return TreeError(f"{name} does not match {like}: {error}")


def tree_map(function: Callable[[Any], Any], tree: PyTree) -> PyTree:
    """``function`` of each leaf that is not ``None``."""
    leaves, spec = flatten(tree)
    return spec.unflatten([None if leaf is None else function(leaf) for leaf in leaves])


def leaf_path(spec: Treespec, leaf: int, root: str) -> str:
    """The expression that leads from ``root`` to the leaf, such as ``params['dense'][0]``."""
    return spec.accessors()[leaf].codify(root)


class MaskedNode(NamedTuple):
    """Stands for a leaf that a mask leaves out, in trees that masked transformations see.

    It has no leaves itself, so maps over the tree skip it.

    Example:
        >>> import gradmill as gm
        >>> gm.MaskedNode()
        MaskedNode()
    """


HOLE = MaskedNode()


def keep(tree: PyTree, taken: Sequence[bool], hole: PyTree = HOLE) -> PyTree:
    """``tree`` with ``hole`` for each leaf that is not taken."""
    leaves, spec = flatten(tree)
    return spec.unflatten(
        [leaf if take else hole for leaf, take in zip(leaves, taken, strict=True)]
    )


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
    return [_as_bool(leaf) for leaf in _spread(mask, tree, spec, "mask")]


def label_leaves(labels: Labels, tree: PyTree, spec: Treespec) -> list[Hashable]:
    """The label of each leaf of ``tree``.

    Raises:
        TreeError: The structure of the labels is none of the tree's.
        ValueError: A label is unknown; the message names the leaf.
    """
    found = _spread(labels.source, tree, spec, "the tree of labels")
    for index, label in enumerate(found):
        known = label in labels.known
        if labels.by_choice:
            known = len(labels.known) == 2 if is_bool(label) else known and is_integer(label)
        if not known:
            raise ValueError(
                f"{leaf_path(spec, index, 'params')}: label {label!r} is none of "
                + ", ".join(map(repr, labels.known))
            )
    if labels.by_choice:
        # True is the first of two.
        return [(0 if label else 1) if is_bool(label) else label for label in found]
    return found


def _spread(source: Any, tree: PyTree, spec: Treespec, name: str) -> list[Any]:
    """A value for each leaf of ``tree``, from a tree of values or a function."""
    if callable(source) and all(map(callable, flatten(source)[0])):
        if required_positionals(source) == 2:
            leaves = spec.flatten_up_to(tree)
            return [source(Path(p), leaf) for p, leaf in zip(spec.paths(), leaves, strict=True)]
        source = source(tree)
    try:
        return optree.broadcast_prefix(source, tree, none_is_leaf=True, namespace=NAMESPACE)
    except ValueError as error:
        raise TreeError(f"{name} does not match the tree it selects from: {error}") from None


class Selection:
    """The leaves of a tree that masks leave, each mask and each set of labels looked at once."""

    def __init__(self, tree: PyTree, treespec: Treespec) -> None:
        self.tree = tree
        self.treespec = treespec
        self._labels: dict[int, list[Hashable]] = {}
        self._masks: dict[int, list[bool]] = {}

    def __call__(self, masks: Sequence[Mask]) -> list[bool]:
        """Whether each leaf passes all of ``masks``."""
        passed = [True] * self.treespec.num_leaves
        for mask in masks:
            passed = [a and b for a, b in zip(passed, self._one(mask), strict=True)]
        return passed

    def _one(self, mask: Mask) -> list[bool]:
        if isinstance(mask, LabelMask):
            labels = mask.labels
            if id(labels) not in self._labels:
                self._labels[id(labels)] = label_leaves(labels, self.tree, self.treespec)
            return [label == mask.label for label in self._labels[id(labels)]]
        if id(mask) not in self._masks:
            self._masks[id(mask)] = mask_leaves(mask, self.tree, self.treespec)
        return self._masks[id(mask)]


def is_bool(value: object) -> bool:
    """Whether ``value`` is a bool, also of NumPy's or of another array library's."""
    if isinstance(value, (bool, np.bool_)):
        return True
    return getattr(value, "ndim", None) == 0 and getattr(value, "dtype", None) == np.bool_


def _as_bool(value: object) -> bool:
    if is_bool(value):
        return bool(value)
    raise TypeError(f"a mask has bools as leaves, got {value!r}")


def required_positionals(function: Callable[..., Any]) -> int:
    """How many positional arguments have no default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)
