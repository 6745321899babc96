"""Trees of arrays, by way of optree. ``None`` is a leaf that has no array."""

from __future__ import annotations

import inspect
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import optree

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
    """

    __slots__ = ("_dicts", "spec")

    def __init__(self, spec: Treespec, dicts: _Dicts | None = None) -> None:
        self.spec = spec
        self._dicts = dicts

    def exact(self, tree: PyTree, kinds: set[type[Any]]) -> list[Any] | None:
        """The leaves of a tree that is soon seen to have this structure and leaves of these kinds.

        None for any other, and where the structure has other nodes than dicts, lists and tuples.
        """
        if self._dicts is None:
            return None
        try:
            leaves = self.spec.flatten_up_to(tree)
            # A subtree in a leaf's place passes so far, and so does another kind of dict.
            is_same = kinds.issuperset(map(type, leaves)) and self._dicts.are_in(tree)
        except Exception:  # noqa: BLE001  (to compare is to run the code of classes and keys)
            return None
        return leaves if is_same else None


ARRAYS: set[type[Any]] = {np.ndarray, type(None)}
"""The kinds of most leaves."""
ARRAYS_AND_HOLES = {*ARRAYS, MaskedNode}

_DEEP = 100
"""Trees of more levels are not looked into."""


class _Dicts:
    """Where the dicts of a tree are.

    Attributes:
        at_top: Whether the tree is one itself.
        below: For each node with dicts among its children the way there, a function that picks
            these, and whether there are several.
    """

    def __init__(self, tree: PyTree) -> None:
        self.at_top = type(tree) is dict
        self.below: list[tuple[tuple[Any, ...], Callable[[Any], Any], bool]] = []

    def find(self, tree: PyTree, path: tuple[Any, ...] = ()) -> bool:
        """Note those of a tree; false for a deep one, or one with nodes of other classes."""
        if type(tree) in ARRAYS:
            return True
        if len(path) == _DEEP:
            return False
        if type(tree) is dict:
            items = list(tree.items())
        elif isinstance(tree, (list, tuple)):
            items = list(enumerate(tree))
        else:
            return False
        dicts = [key for key, child in items if type(child) is dict]
        if dicts:
            self.below.append((path, itemgetter(*dicts), len(dicts) > 1))
        return all(self.find(child, (*path, key)) for key, child in items)

    def are_in(self, tree: PyTree) -> bool:
        """Whether there is a dict in each of these places of ``tree``."""
        if self.at_top and type(tree) is not dict:
            return False
        for path, pick, are_several in self.below:
            node = tree
            for key in path:
                node = node[key]
            found = pick(node)
            kinds = set(map(type, found)) if are_several else {type(found)}
            if kinds != {dict}:
                return False
        return True


class Flattener:
    """Flattens trees; one of the same structure as the last is recognised soon."""

    def __init__(self) -> None:
        self._last = Structure(flatten(None)[1])

    def __call__(self, tree: PyTree) -> tuple[list[Any], Structure]:
        """The leaves, ``None`` among them, and the structure."""
        # Read once: another thread may replace it at any time.
        last = self._last
        leaves = last.exact(tree, ARRAYS)
        if leaves is not None:
            return leaves, last
        leaves, spec = flatten(tree)
        dicts = _Dicts(tree)
        self._last = structure = Structure(spec, dicts if dicts.find(tree) else None)
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
