"""The context of one step on its way through a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradmill._data.numbers import HOST
from gradmill._plan.control import Context

if TYPE_CHECKING:
    from gradmill._data.types import PyTree, TransformationLike
    from gradmill._plan.spec import Spec


class StepContext(Context):
    """What is known of a step, run by run.

    Attributes:
        open: For each gate, by its link's index, whether what it governs runs; None as long as the
            gate's op has not decided.
        specs: Specs that replace those of links in this step, by index.
        members: Transformations that replace those of links written in Python, by index.
    """

    __slots__ = ("members", "open", "specs")

    def __init__(
        self, updates: PyTree, params: PyTree | None, extra: dict[str, Any], xp: Any = HOST
    ) -> None:
        super().__init__(updates, params, extra, xp)
        self.open: dict[int, bool | None] = {}
        self.specs: dict[int, Spec] = {}
        self.members: dict[int, TransformationLike] = {}

    def seen_as(self, updates: PyTree, params: PyTree | None, extra: dict[str, Any]) -> StepContext:
        """The same step with other trees to look at."""
        seen = StepContext(updates, params, extra, self.xp)
        seen.open, seen.specs, seen.members = self.open, self.specs, self.members
        return seen
