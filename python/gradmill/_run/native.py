"""Neighbouring native links as one program of the core."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from gradmill import _core
from gradmill._plan.host import Recipe
from gradmill._run.ops import OpsRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._plan.links import Link


class NativeRun(OpsRun):
    """Consecutive links whose ops the core lists."""

    def __init__(self, links: Sequence[Link]) -> None:
        super().__init__(links)
        like_leaf = {
            (at, slot.name)
            for at, spec in enumerate(self.specs)
            for slot in spec.slots
            if slot.is_like_leaf
        }
        # The core counts slots of other shapes behind the others.
        self.slots.sort(key=lambda slot: slot[:2] not in like_leaf)
        self._program = _core.Program(
            [
                (link.op.name, self.governed(link), link.spec.axes)
                for link in self.ops
                if link.op and link.spec
            ]
        )

    @property
    def program(self) -> _core.Program:
        """The program."""
        return self._program

    @cached_property
    def recipe(self) -> Recipe | None:
        """What the host does in each step, where it can be written down."""
        if not self.ops:
            return None
        try:
            return Recipe(self.links, self.bits)
        except Exception:  # noqa: BLE001  (factories and schedules may do more than a tape can)
            return None
