"""A transformation whose steps overwrite parameters and state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradmill import _core
from gradmill._data.arrays import plain_view
from gradmill._data.trees import flatten
from gradmill._plan.layout import layout_of
from gradmill._plan.match import Match
from gradmill._run.bound import addresses
from gradmill._run.frame import Frame
from gradmill._run.ops import left_out
from gradmill._run.runs import runs_in_place, send_through

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradmill._data.trees import Structure
    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._plan.context import StepContext
    from gradmill._plan.masks import Selection
    from gradmill._run.ops import Found, NewStates


class InPlaceRuns:
    """The runs of a transformation: the last overwrites arrays, those before it make new ones.

    Attributes:
        head: The runs that make new arrays.
        tail: The one that overwrites; it may be empty.
        layout: How states are made up.
        links: The links of all runs.
        at: The position from which on these are the tail's.
        is_simple: Whether all that the host does is to count steps.
    """

    def __init__(self, tx: TransformationLike) -> None:
        *self.head, self.tail = runs_in_place(tx)
        self.layout = layout_of(tx)
        self.links = [link for run in (*self.head, self.tail) for link in run.links]
        self.at = len(self.links) - len(self.tail.links)
        self.is_simple = not (self.head or self.tail.has_controls)

    def bind(
        self,
        structure: Structure,
        leaves: list[Any],
        works_on: PyTree,
        masters: list[Any],
        states: Sequence[PyTree],
        rounding: tuple[int, int] | None,
        kept: set[int],
        selection: Callable[[list[Any]], Selection],
    ) -> tuple[_core.InPlace, Selection, set[int]]:
        """Bind the tail to arrays.

        Args:
            structure: The structure of the parameters.
            leaves: The parameters.
            works_on: What the chain works on: master copies, and parameters that have none.
            masters: The master copies, or None.
            states: The states of all links.
            rounding: What half precision is rounded with.
            kept: The positions of leaves that are no parameters.
            selection: Gives what masks leave of a list of leaves.

        Returns:
            What the core keeps of it, what masks leave of the parameters, and the positions of
            those that no step writes.

        Raises:
            LeafValueError: An array is none that can be written to, or overlaps another.
            LeafTypeError: One is not an array of floats.
        """
        own, spec = states[self.at :], structure.spec
        its_leaves = flatten(works_on)[0]
        select = selection(its_leaves)
        unbound = left_out(self.links, select, leaves) | kept
        frame = Frame(structure, Match(its_leaves, spec), its_leaves)
        has_copies = any(copy is not None for copy in masters)
        try:
            bound = _core.InPlace(
                self.tail.program,
                [None if at in unbound else plain_view(leaf) for at, leaf in enumerate(leaves)],
                [slot.leaves for slot in self.tail.slot_matches(own, frame)],
                self.tail.skips(select),
                self.tail.clocks(own),
                (
                    spec.unflatten(range(len(leaves))),
                    addresses(leaves, unbound),
                    addresses(its_leaves, unbound) if has_copies else None,
                ),
                masters,
                rounding,
            )
        except _core.CoreError as fault:
            raise self.tail.error(fault, structure, params=leaves) from None
        return bound, select, unbound

    def begin(
        self,
        updates: PyTree,
        states: Sequence[PyTree],
        context: StepContext,
        select: Selection,
        leaves_of: Callable[[PyTree], list[Any]],
    ) -> tuple[list[PyTree], Found, tuple[list[Any], list[float], int, NewStates]]:
        """A step up to where arrays are overwritten.

        Args:
            updates: The updates.
            states: The states of all links.
            context: The step.
            select: What masks leave of the parameters.
            leaves_of: Gives updates as a list in the order of the parameters.

        Returns:
            The new states of the head's links, what the head met, and for the tail: the updates
            that reach it, the scalars of all ops in a row, the ops that do not run as bits, and the
            second half of its step.
        """
        updates, head_states, found = send_through(self.head, updates, states, context)
        leaves = leaves_of(updates)
        structure = select.structure
        frame = Frame(structure, Match(leaves, structure.spec), list(select.leaves))
        seen = select if self.tail.selects else None
        half = self.tail.begin(updates, states[self.at :], context, frame, seen)
        return head_states, found, (leaves, *half)
