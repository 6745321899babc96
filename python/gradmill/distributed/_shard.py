"""The optimizer of one process: its pieces as leaves, under the masks of the whole leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradmill._data.trees import HOLE, flatten
from gradmill._optimizer import Optimizer
from gradmill._optimizer._half_step import out_of_reach
from gradmill._plan.masks import Kept, Selection
from gradmill._plan.states import init_links

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.trees import Structure
    from gradmill._data.types import Mask, PyTree, TransformationLike
    from gradmill._optimizer._half_step import Total
    from gradmill._plan.links import Link
    from gradmill._run.in_place import InPlaceRuns


class _OfPieces(Selection):
    """What masks leave of pieces: those of the leaves that they leave of the whole tree."""

    def __init__(
        self, leaves: Sequence[Any], structure: Structure, whole: Selection, leaf_of: list[int]
    ) -> None:
        super().__init__(leaves, structure, "params")
        self._of_whole = whole
        self._leaf_of = leaf_of

    def __call__(self, masks: Sequence[Mask]) -> Kept:
        taken = self._of_whole(masks).taken
        return Kept(self.structure, [taken[leaf] for leaf in self._leaf_of], HOLE)


class Shard(Optimizer):
    """Steps of some pieces of a tree.

    Args:
        tx: The transformation.
        pieces: The pieces, by number.
        whole: What masks leave of the whole tree.
        leaf_of: For each piece the position of its leaf.
        total: Adds up what ops over the tree have to know, over all processes.
        master: As for :class:`Optimizer`.
    """

    def __init__(
        self,
        tx: TransformationLike,
        pieces: dict[int, Any],
        whole: Selection,
        leaf_of: list[int],
        total: Total,
        *,
        master: bool,
    ) -> None:
        self._of_whole = whole
        self._leaf_of = leaf_of
        self._sum = total
        super().__init__(tx, pieces, master=master)

    def _selection(self, leaves: list[Any]) -> Selection:
        return _OfPieces(leaves, self._structure, self._of_whole, self._leaf_of)

    def _first_state(self, params: PyTree) -> PyTree:
        select, layout = self._selection(flatten(params)[0]), self._runs.layout
        return layout.join(init_links(layout.links, params, select))

    def _total(self, leaves: list[int], rows: list[list[float]]) -> list[float]:
        numbers = list(self.params)
        return self._sum([numbers[leaf] for leaf in leaves], rows)


def needs_whole_leaves(links: Sequence[Link]) -> bool:
    """Whether an op has to know of a leaf as a whole, or keeps numbers for its rows or columns."""
    return any(
        link.finds in {"units", "nans"}
        or any(not slot.is_like_leaf or slot.where is not None for slot in link.spec.slots)
        for link in links
        if link.spec is not None
    )


def check_reach(runs: InPlaceRuns) -> None:
    """See that a chain can be sharded.

    Raises:
        ValueError: It cannot; the message names the transformation.
    """
    reason = out_of_reach(runs)
    draws = [link for link in runs.links if link.op is not None and link.op.draws]
    if reason is None and draws:
        reason = f"{draws[0].op} draws random numbers for leaves by their order in the whole tree"
    if reason is not None:
        raise ValueError(f"this chain cannot be sharded: {reason}")
