"""The leaves of one tree in the order of another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.codes import is_quantized
from gradmill._data.trees import (
    ARRAYS,
    ARRAYS_AND_HOLES,
    HOLE,
    Path,
    Structure,
    Treespec,
    flatten,
)
from gradmill._plan.align import Difference, align, align_part, node_at, words
from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.types import PyTree


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
    mine, own = flatten(tree, is_quantized if holes else None)
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


def part_leaves(
    spec: Treespec, places: dict[Any, int], part: PyTree, at: Any, name: str, other: str
) -> dict[int, Any]:
    """The leaves of a part of a tree, by their positions in the whole.

    Args:
        spec: The structure of the whole.
        places: The position of each leaf by its path.
        part: The part; its mappings may lack keys.
        at: Where in the whole it belongs: a path of keys, or a single key.
        name: What the part is called in errors.
        other: What the whole is called there.

    Raises:
        TreeError: The whole has no such part.
    """
    keys = _keys(at)
    mine, own = flatten(part)
    paths = [(*keys, *path) for path in own.paths()]
    # What is not matched by key at each level is looked at node by node.
    if all(type(key) is str for path in paths for key in path):
        found = [places.get(path, -1) for path in paths]
        if -1 not in found:
            return dict(zip(found, mine, strict=True))
    node = node_at(spec, keys)
    way = name + "".join(f"[{key!r:.60}]" for key in keys)
    if node is None:
        raise TreeError(f"{way}: {other} has nothing there")
    its, start = node
    pairs = align_part(own, its)
    if isinstance(pairs, Difference):
        raise TreeError(words(pairs, way, other, mine, partial=True))
    return {start + theirs: mine[ours] for ours, theirs in pairs}


def _keys(at: Any) -> tuple[Any, ...]:
    """The keys of a path."""
    if isinstance(at, Path):
        return at.keys
    return at if isinstance(at, tuple) else (at,)
