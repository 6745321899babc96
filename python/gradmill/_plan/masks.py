"""What masks and labels select from a tree."""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.checks import is_bool, is_integer
from gradmill._data.trees import HOLE, MaskedNode, Path, Structure, Treespec, flatten, leaf_path
from gradmill._plan.align import Difference, Order, align, hint_for, words
from gradmill._plan.spec import LabelMask
from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from gradmill._data.types import Mask, PyTree
    from gradmill._plan.spec import Labels


class Kept:
    """What masks leave of a tree, and of others of the same structure.

    Attributes:
        taken: For each leaf whether they leave it.
        spec: The structure of what they leave; None where there is a hole for each other leaf, and
            for no subtree.
    """

    def __init__(
        self, whole: Structure, taken: list[bool], hole: PyTree, spec: Treespec | None = None
    ) -> None:
        self.taken = taken
        self.spec = spec
        self._whole = whole
        self._hole = hole

    def tree(self, leaves: Sequence[Any]) -> PyTree:
        """What they leave of the tree with these leaves, with holes for the rest."""
        pairs = zip(leaves, self.taken, strict=True)
        if self.spec is not None:
            return self.spec.unflatten([leaf for leaf, take in pairs if take])
        return self._whole.spec.unflatten([leaf if take else self._hole for leaf, take in pairs])

    def at(self) -> list[int]:
        """The positions of the leaves that they leave."""
        return [at for at, take in enumerate(self.taken) if take]

    def structure(self) -> Treespec:
        """The structure of what they leave."""
        return flatten(self.tree(range(len(self.taken))))[1] if self.spec is None else self.spec

    def without(self, values: Sequence[bool]) -> Kept:
        """What is left of that by a mask with a value for each leaf of the whole tree."""
        taken = [take and value for take, value in zip(self.taken, values, strict=True)]
        return Kept(self._whole, taken, self._hole)

    def cut(self, spec: Treespec, cuts: tuple[tuple[int, int], ...], values: list[bool]) -> Kept:
        """What is left of that, whose structure is ``spec``, by a mask with values for its nodes.

        Args:
            spec: The structure.
            cuts: For each node with a value its position, parents before children, and that of the
                value.
            values: The values.
        """
        kept = {node: values[at] for node, at in cuts}
        places, rest = _pruned(spec, frozenset(kept.items()), self._hole)
        at = self.at()
        taken = [False] * len(self.taken)
        for place in places:
            taken[at[place]] = True
        return Kept(self._whole, taken, self._hole, rest)


def _pruned(
    spec: Treespec, kept: frozenset[tuple[int, bool]], hole: PyTree
) -> tuple[tuple[int, ...], Treespec]:
    """The leaves that are left of a tree where some of its nodes are kept or not; its structure."""
    try:
        return _cached(spec, kept, hole)
    except TypeError:  # what a class says of its nodes need not be hashable
        return _cached.__wrapped__(spec, kept, hole)


@lru_cache(maxsize=256)
def _cached(
    spec: Treespec, kept: frozenset[tuple[int, bool]], hole: PyTree
) -> tuple[tuple[int, ...], Treespec]:
    values = dict(kept)

    def prune(node: Treespec, at: int, leaf: int) -> PyTree:
        value = values.get(at)
        if value is not None:
            return node.unflatten(range(leaf, leaf + node.num_leaves)) if value else hole
        children = []
        at += 1
        for child in node.children():
            children.append(prune(child, at, leaf))
            at += child.num_nodes
            leaf += child.num_leaves
        alone = node.one_level()
        return node.unflatten(()) if alone is None else alone.unflatten(children)

    leaves, rest = flatten(prune(spec, 0, 0))
    return tuple(leaves), rest


class Selection:
    """What masks leave of a tree; each mask and each set of labels is looked at once.

    Args:
        leaves: The leaves of the tree.
        structure: Its structure.
        name: What the tree is called.
        hole: What stands in the place of the rest.
    """

    def __init__(
        self, leaves: Sequence[Any], structure: Structure, name: str, hole: PyTree = HOLE
    ) -> None:
        self.leaves = leaves
        self.structure = structure
        self.name = name
        self._kept: dict[tuple[int, ...], Kept] = {}
        self._whole = Kept(structure, [True] * len(leaves), hole)
        self._labels: dict[tuple[int, ...], tuple[_Values, list[Hashable]]] = {}

    def __call__(self, masks: Sequence[Mask]) -> Kept:
        """What all of ``masks`` leave; each one is about what those before it leave."""
        kept = self._whole
        path: tuple[int, ...] = ()
        for mask in masks:
            before, path = path, (*path, id(mask))
            if path not in self._kept:
                self._kept[path] = self._apply(kept, before, mask)
            kept = self._kept[path]
        return kept

    def _apply(self, kept: Kept, before: tuple[int, ...], mask: Mask) -> Kept:
        if not isinstance(mask, LabelMask):
            values = _Values(self, kept, mask, "mask")
            return values.keep(values.each(_as_bool))
        labels = mask.labels
        place = (*before, id(labels))
        if place not in self._labels:
            values = _Values(self, kept, labels.source, "labels")
            self._labels[place] = values, values.each(lambda *found: _as_label(labels, *found))
        values, found = self._labels[place]
        return values.keep([label is _NOTHING or label == mask.label for label in found])


class _Values:
    """The values of a mask or of labels, for the leaves or the nodes of what is left of a tree."""

    def __init__(self, whole: Selection, kept: Kept, source: Any, name: str) -> None:
        self._whole = whole
        self._kept = kept
        self._name = name
        # The structure of the source, and what its leaves stand for; None where there is a value
        # for each leaf of the whole tree.
        self._own: Treespec | None = None
        self._order = Order((), ())
        if callable(source) and all(map(callable, flatten(source)[0])):
            if required_positionals(source) == 2:
                self._values = self._of_leaves(source)
                return
            source = source(kept.tree(whole.leaves))
        exact = None if kept.spec is not None else whole.structure.exact(source, _PLAIN)
        if exact is not None:
            self._values = exact
            return
        self._values, self._own = flatten(source)
        self._spec = kept.structure()
        order = align(self._own, self._spec, holes=False, prefix=True)
        if isinstance(order, Difference):
            raise TreeError(words(order, name, whole.name, self._values))
        self._order = order

    def _of_leaves(self, function: Callable[..., Any]) -> list[Any]:
        """The values of a function of path and leaf."""
        spec = self._whole.structure.spec
        rows = zip(self._kept.taken, spec.paths(), self._whole.leaves, strict=True)
        return [function(Path(path), leaf) if take else None for take, path, leaf in rows]

    def each(self, check: Callable[[Any, Treespec, int], Any]) -> list[Any]:
        """What ``check`` makes of each value that stands for something."""
        spec = self._own or self._whole.structure.spec
        return [
            _NOTHING if self._stands_for_nothing(at, value) else check(value, spec, at)
            for at, value in enumerate(self._values)
        ]

    def _stands_for_nothing(self, at: int, value: Any) -> bool:
        if self._own is None:
            return not self._kept.taken[at] or (value is None and self._whole.leaves[at] is None)
        if value is not None:
            return False
        places = self._kept.at()
        leaves = [places[it] for it, own in enumerate(self._order.leaves) if own == at]
        return all(self._whole.leaves[place] is None for place in leaves)

    def tree(self) -> PyTree:
        """A tree of the values as bools."""
        spec = self._own or self._whole.structure.spec
        return spec.unflatten([value is not False for value in self.each(_as_bool)])

    def keep(self, values: list[Any]) -> Kept:
        """What they leave."""
        kept = [value is not False for value in values]
        if self._own is None:
            return self._kept.without(kept)
        return self._kept.cut(self._spec, self._order.cuts, kept)


_NOTHING: Any = object()
"""What becomes of the value for a leaf that is not there."""

_PLAIN = (bool, np.bool_, str, int, MaskedNode, type(None))
"""The kinds of the leaves of most masks and labels."""


def _as_bool(value: object, spec: Treespec, at: int) -> bool:
    if is_bool(value):
        return bool(value)
    path = leaf_path(spec, at, "mask")
    raise TypeError(
        f"{path}: the leaves of a mask must be bools, got {value!r:.60}{hint_for(value)}"
    )


def _as_label(labels: Labels, label: Any, spec: Treespec, at: int) -> Hashable:
    is_allowed = label in labels.allowed
    if labels.by_choice and is_bool(label):
        is_allowed = len(labels.allowed) == 2
    elif labels.by_choice:
        is_allowed = is_allowed and is_integer(label)
    if not is_allowed:
        raise ValueError(
            f"{leaf_path(spec, at, 'params')}: unknown label {label!r:.60}; expected one of "
            + ", ".join(map(repr, labels.allowed))
            + hint_for(label)
        )
    if labels.by_choice and is_bool(label):
        # True is the first of two.
        return 0 if label else 1
    found: Hashable = label
    return found


def mask_tree(mask: Mask, tree: PyTree) -> PyTree:
    """The tree of bools that a mask is, for this tree or its upper part."""
    leaves, spec = flatten(tree)
    selection = Selection(leaves, Structure(spec), "params")
    return _Values(selection, selection(()), mask, "mask").tree()


def required_positionals(function: Callable[..., Any]) -> int:
    """How many positional arguments have no default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)
