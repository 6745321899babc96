"""One member of a chain, in its place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gradmill._core import Scalars
from gradmill._plan.scalars import step_scalars

if TYPE_CHECKING:
    from gradmill._data.types import Mask, TransformationLike
    from gradmill._ops.op import Finds, Op
    from gradmill._plan.control import Control
    from gradmill._plan.spec import Spec


@dataclass(frozen=True)
class Link:
    """One member of a chain whose nested parts are laid out in a row.

    Attributes:
        tx: The member.
        spec: What it does, or None where it is written in Python.
        masks: The masks it stands under.
        masks_extra: Whether these also apply to extra arguments.
        gates: The gates it stands behind, by their positions in the row.
        index: Its own position.
        end: The position behind the links that it governs.
        path: The expression for its state.
        inner_ops: The ops of the links that it governs.
        coded: The masks that leave those leaves whose state starts in 8 bits a number; None where
            that of no leaf does.
    """

    tx: TransformationLike
    spec: Spec | None
    masks: tuple[Mask, ...]
    masks_extra: bool
    gates: tuple[int, ...]
    index: int
    end: int
    path: str
    inner_ops: tuple[Op | None, ...] = ()
    coded: tuple[Mask, ...] | None = None

    @cached_property
    def op(self) -> Op | None:
        """Its op, if it has one."""
        return None if self.spec is None else self.spec.op

    @cached_property
    def control(self) -> Control | None:
        """What the host does, where that is more than to count steps."""
        return None if self.spec is None else self.spec.control

    @cached_property
    def counts(self) -> tuple[str, ...]:
        """The fields in which the host counts steps, where that is all that it does."""
        return () if self.spec is None else self.spec.counts

    @cached_property
    def state_fields(self) -> tuple[str, ...]:
        """The fields of its state, where these are known."""
        return () if self.spec is None else self.spec.state._fields

    @cached_property
    def scalars_of(self) -> Scalars:
        """The scalars of its op as a function of its count."""
        return Scalars([]) if self.spec is None else step_scalars(self.spec)

    @cached_property
    def finds(self) -> Finds | None:
        """What has to be found in the update as a whole before its op runs."""
        return None if self.op is None else self.op.finds
