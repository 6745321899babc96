"""The trees of a step, leaf by leaf and in one order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gradmill._data.trees import ARRAYS, HOLE, Flattener, Structure, flatten
from gradmill._plan.align import Order, align, are_same
from gradmill._plan.masks import Selection
from gradmill._plan.match import Match, match
from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.types import PyTree
    from gradmill._plan.context import StepContext
    from gradmill._plan.links import Link
    from gradmill._plan.masks import Kept


class Frame(NamedTuple):
    """Updates and parameters, leaf by leaf.

    Leaves come in the order of the parameters where there are such: by it, random numbers are drawn
    and norms added up.

    Attributes:
        structure: The structure in whose order they come.
        updates: The updates.
        params: The leaves of the parameters, None where there are none.
    """

    structure: Structure
    updates: Match
    params: list[Any] | None

    def slot(self, tree: PyTree, path: str) -> Match:
        """The leaves of a slot of a state.

        Raises:
            TreeError: It does not match; the message blames the updates, unless it is the
                parameters' structure that these have.
        """
        if self.params is not None:
            return match(tree, self.structure, path, "params", leaves=self.params, holes=True)
        leaves = self.updates.leaves
        return match(
            tree, self.structure, path, "updates", leaves=leaves, holes=True, blames_other=True
        )

    def selection(self, hole: PyTree = HOLE) -> Selection:
        """What masks leave: of the parameters, or of the updates where there are none."""
        if self.params is None:
            return Selection(self.updates.leaves, self.structure, "updates", hole)
        return Selection(self.params, self.structure, "params", hole)

    def context(
        self, context: StepContext, link: Link, kept: Kept, updates: Sequence[Any] | None = None
    ) -> StepContext:
        """What the control of a link looks at: no more than its masks leave.

        Args:
            context: The step.
            link: The link.
            kept: What its masks leave.
            updates: The leaves of the updates that reach it; None for those of the frame.
        """
        extra = context.extra
        if link.masks_extra:
            extra = masked_extra(extra, self.structure, kept)
        params = context.params if self.params is None else kept.tree(self.params)
        leaves = self.updates.leaves if updates is None else updates
        return context.seen_as(kept.tree(leaves), params, extra)


class Framer:
    """Makes frames, and remembers the last structures to recognise them quickly.

    Attributes:
        of_updates: Flattens updates.
    """

    def __init__(self) -> None:
        self.of_updates = Flattener()
        self._of_params = Flattener()

    def __call__(self, updates: PyTree, params: PyTree | None, *, needs_params: bool) -> Frame:
        """The frame of a step.

        Args:
            updates: The updates.
            params: The parameters, or None.
            needs_params: Whether anybody looks at the parameters, where there are such; if not, it
                is as if there were none where the updates do not match them.

        Raises:
            TreeError: The updates do not match parameters that somebody looks at.
        """
        leaves, structure = self.of_updates(updates)
        given = Match(leaves, structure.spec)
        if params is None:
            return Frame(structure, given, None)
        exact = structure.exact(params, ARRAYS)
        if exact is not None:
            return Frame(structure, given, exact)
        of_params, leading = self._of_params(params)
        if are_same(leading.spec, structure.spec):
            return Frame(structure, given, of_params)
        try:
            found = match(updates, leading, "updates", "params", leaves=of_params)
        except TreeError:
            if needs_params:
                raise
            return Frame(structure, given, None)
        return Frame(leading, found, of_params)


def masked_extra(extra: dict[str, Any], structure: Structure, kept: Kept) -> dict[str, Any]:
    """Extra arguments, with what masks leave of those that are trees like the updates."""
    masked = {}
    for name, tree in extra.items():
        leaves, own = flatten(tree)
        order = align(own, structure.spec, holes=False, prefix=False)
        is_like = isinstance(order, Order)
        masked[name] = kept.tree([leaves[at] for at in order.leaves]) if is_like else tree
    return masked
