"""Trees of arrays, by way of optree. ``None`` is a leaf that has no array."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import optree

from gradmill import _core
from gradmill._align import Difference, align, words
from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gradmill._base import PyTree

NAMESPACE = "gradmill"
"""Classes registered with optree globally or in this namespace are nodes."""

Treespec = optree.PyTreeSpec


def flatten(tree: PyTree) -> tuple[list[Any], Treespec]:
    """The leaves, ``None`` among them, and the structure."""
    leaves, spec = optree.tree_flatten(tree, none_is_leaf=True, namespace=NAMESPACE)
    return leaves, spec


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
ARRAYS_AND_HOLES = (*ARRAYS, MaskedNode)

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
    """Flattens trees; one of the same structure as the last is recognised soon.

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


class Match(NamedTuple):
    """A tree whose leaves have been brought into the order of another's.

    Attributes:
        leaves: For each leaf of the other the one that belongs to it; ``MaskedNode()`` for none.
        spec: The tree's structure.
        order: For each leaf of the other the position of its own, -1 for none; None where they
            come in the same order.
    """

    leaves: list[Any]
    spec: Treespec
    order: tuple[int, ...] | None = None

    def rebuild(self, leaves: Sequence[Any]) -> PyTree:
        """A tree like this with other leaves, which come in the order of the other tree."""
        if self.order is None:
            return self.spec.unflatten(leaves)
        own: list[Any] = [None] * self.spec.num_leaves
        for at, leaf in zip(self.order, leaves, strict=True):
            if at >= 0:
                own[at] = leaf
        return self.spec.unflatten(own)


def match(
    tree: PyTree,
    like: Structure,
    name: str,
    other: str,
    *,
    leaves: Sequence[Any] | None = None,
    holes: bool = False,
    blames_other: bool = False,
) -> Match:
    """The leaves of ``tree`` in the order of another tree's, and the way back.

    Args:
        tree: The tree.
        like: The structure of the other.
        name: What the tree is called in errors.
        other: What the other is called there.
        leaves: The leaves of the other, where they are known, to name them in errors.
        holes: Whether a ``MaskedNode`` may stand for a subtree of the other.
        blames_other: Whether it is the other that is wrong where the two differ.

    Raises:
        TreeError: The two do not match; the message has the first place where they differ.
    """
    exact = like.exact(tree, ARRAYS_AND_HOLES if holes else ARRAYS)
    if exact is not None:
        return Match(exact, like.spec)
    mine, own = flatten(tree)
    found = align(own, like.spec, holes=holes, prefix=False)
    if isinstance(found, Difference):
        if blames_other:
            raise TreeError(words(found.turned(), other, name, leaves, mine))
        raise TreeError(words(found, name, other, mine, leaves))
    return Match([HOLE if at < 0 else mine[at] for at in found.leaves], own, found.leaves)


def flatten_like(spec: Treespec, tree: PyTree, name: str, other: str) -> list[Any]:
    """The leaves of ``tree`` in the order of those of another tree, whose structure is ``spec``.

    Raises:
        TreeError: The two do not match.
    """
    return match(tree, Structure(spec), name, other).leaves


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


def is_bool(value: object) -> bool:
    """Whether ``value`` is a bool, also of NumPy's or of another array library's."""
    if isinstance(value, (bool, np.bool_)):
        return True
    return getattr(value, "ndim", None) == 0 and getattr(value, "dtype", None) == np.bool_


def required_positionals(function: Callable[..., Any]) -> int:
    """How many positional arguments have no default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)
