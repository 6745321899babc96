"""The structure of a tree, as stored in a header and as trees to be filled."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import optree

from gradmill._data.trees import flatten_one_level
from gradmill.checkpoints._keys import by_decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradmill._data.types import PyTree

CONSTANTS = (type(None), bool, int, float, complex, str)
"""Leaves that stand in the header themselves."""


@dataclass(frozen=True, slots=True)
class Held:
    """Stands for an array of the file.

    Attributes:
        name: Its name there.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Other:
    """Stands for a leaf that no step looks at and no file holds.

    Attributes:
        kind: The name of its class.
    """

    kind: str


class Node(NamedTuple):
    """A container of a tree.

    Attributes:
        kind: "dict", "list", "tuple", "fields" for NamedTuples, or "node" for registered classes.
        name: The name of its class.
        children: Its children by their keys, which are names for fields.
    """

    kind: str
    name: str
    children: dict[Any, Any]

    def step(self, key: Any) -> str:
        """The way to a child, as in an expression."""
        named = self.kind == "fields" or (self.kind == "node" and isinstance(key, str))
        return f".{key}" if named else f"[{key!r}]"

    def words(self) -> str:
        """What it is."""
        return self.name if self.kind in {"fields", "node"} else f"a {self.kind}"


class Taken(NamedTuple):
    """A node of a tree at hand.

    Attributes:
        node: What it is, with the subtrees as children.
        build: Makes one like it of other children, in the same order.
    """

    node: Node
    build: Callable[[Sequence[Any]], PyTree]


def take_apart(tree: PyTree) -> Taken | None:
    """The first node of a tree; None where that is a leaf."""
    one = flatten_one_level(tree)
    if one is None:
        return None
    keys, kind = one.entries, "node"
    if optree.is_namedtuple_instance(tree):
        keys, kind = tree._fields, "fields"
    elif isinstance(tree, Mapping):
        kind = "dict"
    elif type(tree) in (list, tuple):
        kind = type(tree).__name__
    else:
        keys = _names(keys)
    children = dict(zip(keys, one.children, strict=True))
    return Taken(
        Node(kind, type(tree).__name__, children),
        lambda new: one.unflatten_func(one.metadata, new),
    )


def _names(entries: Sequence[Any]) -> Sequence[Any]:
    """What a registered class calls the children of a node; their positions if that is no name."""
    are_names = all(type(entry) in (str, int) for entry in entries)
    return entries if are_names and len({*entries}) == len(entries) else range(len(entries))


def describe(
    tree: PyTree, path: str, keys: tuple[Any, ...], keep: Callable[[Any, str, tuple[Any, ...]], Any]
) -> Any:
    """The structure of a tree, with what ``keep`` makes of leaves, their paths and their keys.

    Raises:
        TreeError: A node has keys that are the same in a file.
    """
    taken = take_apart(tree)
    if taken is None:
        return tree if type(tree) in CONSTANTS else keep(tree, path, keys)
    node = taken.node
    by_decoded(node.children, path)
    # optree sorts the keys of dicts; a file has them as they are.
    order = tree if type(tree) in (dict, OrderedDict, defaultdict) else node.children
    children = {
        key: describe(node.children[key], path + node.step(key), (*keys, key), keep)
        for key in order
    }
    return node._replace(children=children)


def plain(node: Any, path: str, read: Callable[[str, str], Any]) -> PyTree:
    """The tree of a structure: dicts, lists and tuples, with dicts for all other classes.

    Args:
        node: The structure.
        path: The way to it.
        read: Makes an array of its name and of the way to it.
    """
    if isinstance(node, Node):
        children = {
            key: plain(child, path + node.step(key), read) for key, child in node.children.items()
        }
        if node.kind in {"list", "tuple"}:
            return (list if node.kind == "list" else tuple)(children.values())
        return children
    if isinstance(node, Held):
        return read(node.name, path)
    return None if isinstance(node, Other) else node


def leaves_of(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The leaves of a structure or a tree with their paths; an empty node is one itself."""
    if not isinstance(node, Node):
        taken = take_apart(node)
        if taken is None:
            yield path, node
            return
        node = taken.node
    for key, child in node.children.items():
        yield from leaves_of(child, path + node.step(key))
    if not node.children:
        yield path, node


def words(leaf: Any) -> str:
    """What a leaf or a node is."""
    if isinstance(leaf, Node):
        return leaf.words()
    if isinstance(leaf, Held) or hasattr(leaf, "__array__"):
        return "an array"
    if isinstance(leaf, Other):
        return f"a {leaf.kind}"
    if leaf is None or isinstance(leaf, (bool, np.bool_)):
        return str(leaf)
    return f"{'an' if type(leaf) is int else 'a'} {type(leaf).__name__}"
