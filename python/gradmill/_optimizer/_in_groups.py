"""Steps that report their progress between groups of leaves."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from gradmill._data.trees import flatten
from gradmill._data.types import P
from gradmill._optimizer._half_step import missing, out_of_reach
from gradmill._optimizer._halves import InHalves
from gradmill._optimizer._mapped import Range, range_of
from gradmill._plan.match import Match
from gradmill._run.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradmill._data.types import PyTree
    from gradmill._run.report import StepReport

_LEAST = 2**22
"""The parameters of a group, if there are so many: a few milliseconds of work."""


class InGroups(InHalves[P]):
    """What can tell how far a step is."""

    def _step_in_groups(
        self,
        grads: PyTree,
        updates: Sequence[Any],
        progress: Callable[[int, int], Any],
        extra_args: dict[str, Any],
    ) -> StepReport | None:
        """Take a step leaf by leaf; None where the chain has to have the whole tree at hand.

        Args:
            grads: The gradients.
            updates: Their leaves in the order of the parameters.
            progress: What it raises is raised once the step has come to its end.
            extra_args: For the members of the chain that take such.
        """
        if out_of_reach(self._runs) is not None or not self._due:
            return None
        self.measure(grads, **extra_args)
        groups, ranges = list(self._groups()), self._ranges(updates)
        total = sum(self._leaves[at].size for at in self._due)
        done, error, report = 0, None, None
        for group, later in zip_longest(groups, groups[1:], fillvalue=()):
            for one in chain.from_iterable(ranges[at] for at in later):
                one.advise("WILLNEED")
            report = self._apply_group({at: updates[at] for at in group})
            done += sum(self._leaves[at].size for at in group)
            try:
                progress(done, total)
            except BaseException as raised:  # noqa: BLE001  (an interrupt must not tear the step)
                error = error or raised
        if error is not None:
            raise error
        return report

    def _apply_group(self, part: dict[int, Any]) -> StepReport | None:
        """Apply some of the gradients that were measured; with the last of them the report."""
        with self._half_lock:
            step = self._half_step({})
            try:
                with self._faults_of(part):
                    step.settle(self._bound, self._total)
                    step.apply(self._bound, part)
            except BaseException:
                if not step.written:
                    self._half = None
                raise
            return self._end(step) if missing(self._due, step.written) is None else None

    def _groups(self) -> Iterator[list[int]]:
        """The leaves that steps write, in groups."""
        group: list[int] = []
        size = 0
        for at in self._due:
            group.append(at)
            size += self._leaves[at].size
            if size >= _LEAST:
                yield group
                group, size = [], 0
        if group:
            yield group

    def _ranges(self, updates: Sequence[Any]) -> dict[int, list[Range]]:
        """For each leaf the parts of files in which its arrays lie."""
        tail, select = self._runs.tail, self._select
        leaves = list(select.leaves)
        frame = Frame(self._structure, Match(leaves, self._treespec), leaves)
        slots = tail.slot_matches(self._states()[self._runs.at :], frame)
        rows = [self._leaves, leaves, updates, *(slot.leaves for slot in slots)]
        arrays = {at: flatten([row[at] for row in rows])[0] for at in self._due}
        found = {at: map(range_of, own) for at, own in arrays.items()}
        return {at: [one for one in own if one is not None] for at, own in found.items()}
