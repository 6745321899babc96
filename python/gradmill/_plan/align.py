"""Two trees matched leaf by leaf, by key and never by position."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import optree

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradmill._data.trees import Treespec


class Order(NamedTuple):
    """Which leaf of a tree belongs to each leaf of another.

    Attributes:
        leaves: For each leaf of the other the position of its own one; -1 where there is a hole.
        cuts: For each leaf the node of the other that it stands for, by its position among all
            nodes, parents before children, and the position of the leaf.
    """

    leaves: tuple[int, ...]
    cuts: tuple[tuple[int, int], ...]


class Difference(NamedTuple):
    """Where two trees differ first.

    Attributes:
        steps: The way there: each node above, and which of its children comes next.
        own: The node of the one tree.
        other: That of the other.
        leaves: The positions of their first leaves.
    """

    steps: tuple[tuple[Treespec, int], ...]
    own: Treespec
    other: Treespec
    leaves: tuple[int, int]

    def turned(self) -> Difference:
        """The same, seen from the other tree."""
        return Difference(self.steps, self.other, self.own, self.leaves[::-1])


def align(own: Treespec, other: Treespec, *, holes: bool, prefix: bool) -> Order | Difference:
    """How the leaves of a tree belong to those of another, from the structures of both.

    Mappings of whatever kind are matched by key, NamedTuples of one name by field, sequences of one
    kind by position, nodes of a registered class by the entries that it gives them.

    Args:
        own: The structure of the tree.
        other: That of the other.
        holes: Whether a ``MaskedNode`` may stand for a subtree of the other.
        prefix: Whether a leaf may stand for one.
    """
    try:
        return _align(own, other, holes, prefix)
    except TypeError:  # what a class says of its nodes need not be hashable
        return _align.__wrapped__(own, other, holes, prefix)


@lru_cache(maxsize=256)
def _align(own: Treespec, other: Treespec, holes: bool, prefix: bool) -> Order | Difference:
    order = [-1] * other.num_leaves
    cuts: list[tuple[int, int]] = []
    # Two nodes, their first leaves, the position of the other among all nodes, and the way there.
    stack: list[tuple[Any, ...]] = [(own, other, 0, 0, 0, ())]
    while stack:
        mine, its, start, its_start, node, steps = stack.pop()
        if mine.is_leaf() and (prefix or its.is_leaf()):
            order[its_start : its_start + its.num_leaves] = [start] * its.num_leaves
            cuts.append((node, start))
            continue
        if (is_hole(mine) and (holes or is_hole(its))) or (prefix and is_hole(its)):
            continue
        pairs = None if mine.is_leaf() or its.is_leaf() else _pairs(mine, its)
        if pairs is None:
            return Difference(steps, mine, its, (start, its_start))
        of_mine, of_its = mine.children(), its.children()
        starts = _sums(start, (child.num_leaves for child in of_mine))
        its_starts = _sums(its_start, (child.num_leaves for child in of_its))
        nodes = _sums(node + 1, (child.num_nodes for child in of_its))
        stack += [
            (of_mine[a], of_its[b], starts[a], its_starts[b], nodes[b], (*steps, (mine, a)))
            for a, b in reversed(pairs)
        ]
    return Order(tuple(order), tuple(cuts))


def align_part(own: Treespec, other: Treespec) -> list[tuple[int, int]] | Difference:
    """The leaves of a part of a tree, and those of the tree that they belong to, by position.

    Mappings of a part may lack keys; other nodes are whole.

    Args:
        own: The structure of the part.
        other: That of the tree.
    """
    found: list[tuple[int, int]] = []
    stack: list[tuple[Any, ...]] = [(own, other, 0, 0, ())]
    while stack:
        mine, its, start, its_start, steps = stack.pop()
        if mine.is_leaf() and its.is_leaf():
            found.append((start, its_start))
            continue
        pairs = None
        if _is_mapping(mine) and _is_mapping(its):
            places = {name: at for at, name in enumerate(_names(its))}
            names = list(enumerate(_names(mine)))
            if all(name in places for _, name in names):
                pairs = [(at, places[name]) for at, name in names]
        elif not (mine.is_leaf() or its.is_leaf()):
            pairs = _pairs(mine, its)
        if pairs is None:
            return Difference(steps, mine, its, (start, its_start))
        of_mine, of_its = mine.children(), its.children()
        starts = _sums(start, (child.num_leaves for child in of_mine))
        its_starts = _sums(its_start, (child.num_leaves for child in of_its))
        stack += [
            (of_mine[a], of_its[b], starts[a], its_starts[b], (*steps, (mine, a)))
            for a, b in reversed(pairs)
        ]
    return found


def node_at(spec: Treespec, keys: Sequence[Any]) -> tuple[Treespec, int] | None:
    """The node that keys lead to, and the position of its first leaf; None where they do not."""
    start = 0
    for key in keys:
        names = [] if spec.is_leaf() else _names(spec)
        try:
            at = names.index(key)
        except ValueError:
            return None
        children = spec.children()
        start += sum(child.num_leaves for child in children[:at])
        spec = children[at]
    return spec, start


def are_same(own: Treespec, other: Treespec) -> bool:
    """Whether two structures are the same, leaves in the same order."""
    try:
        return own == other
    except Exception:  # noqa: BLE001  (what a class says of its nodes may refuse to be compared)
        return False


def is_hole(node: Treespec) -> bool:
    """Whether a node is a ``MaskedNode``, be it that of optax."""
    kind = node.type
    return kind is not None and kind.__name__ == "MaskedNode" and not node.num_children


def _sums(start: int, sizes: Iterable[int]) -> list[int]:
    sums = [start]
    for size in sizes:
        sums.append(sums[-1] + size)
    return sums


def _pairs(own: Treespec, other: Treespec) -> list[tuple[int, int]] | None:
    """Which children of two nodes belong together, in the order of the other's; None for none."""
    if not _are_alike(own, other):
        return None
    if _is_mapping(own) or _fields(own) is not None:
        return _by_name(_names(own), _names(other))
    if own.type in _SEQUENCES or are_same(_alone(own), _alone(other)):
        count = own.num_children
        return [(at, at) for at in range(count)] if count == other.num_children else None
    # Where a class says other things of two nodes, it may be that children come in another order.
    names = _names(own), _names(other)
    return _by_name(*names) if names[0] != names[1] else None


def _by_name(own: Sequence[Any], other: Sequence[Any]) -> list[tuple[int, int]] | None:
    try:
        places = {name: at for at, name in enumerate(own)}
        pairs = [(places[name], at) for at, name in enumerate(other)]
    except (KeyError, TypeError):  # names that classes give need not be hashable
        return None
    return pairs if len(places) == len(own) == len(other) else None


def _alone(node: Treespec) -> Treespec:
    """A node with leaves for its children."""
    alone = node.one_level()
    assert alone is not None  # noqa: S101  (for the type checker: it is no leaf)
    return alone


_SEQUENCES = {list, tuple, deque}


def _are_alike(own: Treespec, other: Treespec) -> bool:
    """Whether two nodes can match, for their kinds."""
    mine, its = _fields(own), _fields(other)
    if mine is not None and its is not None:
        return mine[0] == its[0]
    return own.type is other.type or (_is_mapping(own) and _is_mapping(other))


def _is_mapping(node: Treespec) -> bool:
    return node.type is not None and issubclass(node.type, Mapping)


def _fields(node: Treespec) -> tuple[str, tuple[str, ...]] | None:
    """The name and the fields of a NamedTuple's class."""
    kind: Any = node.type
    if kind is None or not optree.is_namedtuple_class(kind):
        return None
    return kind.__name__, kind._fields


def _names(node: Treespec) -> list[Any]:
    """The keys of a mapping, the fields of a NamedTuple, the entries of another node."""
    fields = _fields(node)
    return node.entries() if fields is None else list(fields[1])


def words(
    difference: Difference,
    name: str,
    other: str,
    leaves: Sequence[Any] | None = None,
    other_leaves: Sequence[Any] | None = None,
    *,
    partial: bool = False,
) -> str:
    """What to tell of a difference.

    Args:
        difference: The difference.
        name: What the tree is called.
        other: What the other is called.
        leaves: The leaves of the tree, where they are known.
        other_leaves: The leaves of the other, where they are known.
        partial: Whether mappings of the tree may lack keys.
    """
    steps, own, its, (at, its_at) = difference
    path = name
    for node, child in steps:
        path = _alone(node).accessors()[child].codify(path)
    if own.is_leaf() or its.is_leaf() or not _are_alike(own, its):
        mine, theirs = _kind(own, leaves, at), _kind(its, other_leaves, its_at)
        hint = hint_for(leaves[at]) if own.is_leaf() and leaves is not None else ""
        return f"{path}: {mine}, {other} has {theirs}{hint}"
    if own.type in _SEQUENCES:
        return f"{path}: {own.num_children} items, {other} has {its.num_children}"
    keys, its_keys = _names(own), _names(its)
    problems = [
        _listed("missing key", [key for key in its_keys if not (partial or key in keys)], ""),
        _listed("key", [key for key in keys if key not in its_keys], f"not in {other}"),
    ]
    if not any(problems):
        problems = [f"{_kind(own, None, 0)} with other metadata than {other} has"]
    return f"{path}: {'; '.join(filter(None, problems))}"


def _listed(noun: str, keys: Sequence[Any], verdict: str) -> str:
    """A clause that names some of the keys."""
    if not keys:
        return ""
    shown = ", ".join(f"{key!r:.60}" for key in keys[:3])
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    plural, verb = ("s", "are") if len(keys) > 1 else ("", "is")
    return f"{noun}{plural} {shown}{more}" + (f" {verb} {verdict}" if verdict else "")


def _kind(node: Treespec, leaves: Sequence[Any] | None, at: int) -> str:
    """What a node is, in words."""
    if not node.is_leaf():
        return with_article(getattr(node.type, "__name__", "node"))
    return "an array" if leaves is None else kind_of(leaves[at])


def kind_of(leaf: object) -> str:
    """What a leaf is, in words."""
    if leaf is None:
        return "None"
    is_array = hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    return "an array" if is_array else with_article(type(leaf).__name__)


def with_article(noun: str) -> str:
    """The noun with "a" or "an"."""
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"


def hint_for(leaf: object) -> str:
    """What to do about a leaf that is none."""
    if isinstance(leaf, Mapping):
        kind = with_article(type(leaf).__name__)
        return f"; for {kind} pass dict(...), or register its class with optree"
    kind = getattr(getattr(leaf, "dtype", None), "kind", "")
    if kind in {"i", "u", "b", "V"} or isinstance(leaf, int):
        return "; leave it out with masked, partition or freeze, or cast it"
    return ""
