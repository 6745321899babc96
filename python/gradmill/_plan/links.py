"""The links of a chain, and the state of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradmill._core import Scalars
from gradmill._plan.scalars import step_scalars
from gradmill._plan.spec import Chained, Flattened, Gated, LabelMask, Masked, Partitioned, Spec

if TYPE_CHECKING:
    from gradmill._data.types import TransformationLike
    from gradmill._ops.op import Finds, Op
    from gradmill._plan.control import Control
    from gradmill._plan.spec import Mask


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
    """

    tx: TransformationLike
    spec: Spec | None
    masks: tuple[Mask, ...]
    masks_extra: bool
    gates: tuple[int, ...]
    index: int
    end: int
    path: str

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
    def inner_ops(self) -> list[Op | None]:
        """The ops of the links that it governs, where it is a gate."""
        description = getattr(self.tx, "description", None)
        inner = description.inner if isinstance(description, Gated) else None
        return [] if inner is None else [link.op for link in links_of(inner)]

    @cached_property
    def finds(self) -> Finds | None:
        """What has to be found in the update as a whole before its op runs."""
        return None if self.op is None else self.op.finds


def links_of(tx: TransformationLike) -> list[Link]:
    """The links of ``tx``, in the order in which updates pass them."""
    row: list[Link] = []
    _lay_out(tx, _Place("state"), row)
    return row


@dataclass(frozen=True)
class _Place:
    """Where a part of a transformation stands."""

    path: str
    masks: tuple[Mask, ...] = ()
    masks_extra: bool = False
    gates: tuple[int, ...] = ()

    def link(self, tx: TransformationLike, spec: Spec | None, index: int, end: int) -> Link:
        return Link(tx, spec, self.masks, self.masks_extra, self.gates, index, end, self.path)


def _lay_out(tx: TransformationLike, place: _Place, row: list[Link]) -> None:
    """Add the links of ``tx`` to ``row``."""
    description = getattr(tx, "description", None)
    index = len(row)
    if description is None or isinstance(description, (Spec, Flattened)):
        spec = description if isinstance(description, Spec) else None
        row.append(place.link(tx, spec, index, index + 1))
        return
    inside = place
    if isinstance(description, Gated):
        row.append(place.link(tx, description.spec, index, index))
        inside = replace(place, gates=(*place.gates, index))
    for suffix, member, mask in _members(description):
        here = replace(inside, path=place.path + suffix)
        if mask is not None:
            extra = place.masks_extra or description.masks_extra
            here = replace(here, masks=(*place.masks, mask), masks_extra=extra)
        _lay_out(member, here, row)
    if isinstance(description, Gated):
        row[index] = replace(row[index], end=len(row))


def _members(description: Any) -> list[tuple[str, TransformationLike, Mask | None]]:
    """The transformations inside, each with the way to its state and its mask."""
    match description:
        case Chained(members, names):
            keys = names or range(len(members))
            return [(f"[{k!r}]", member, None) for k, member in zip(keys, members, strict=True)]
        case Masked(inner, mask):
            return [(".inner_state", inner, mask)]
        case Partitioned(members, labels):
            return [
                (f".inner_states[{label!r}].inner_state", member, LabelMask(labels, label))
                for label, member in members.items()
            ]
        case _:
            return [(f".{description.field}", description.inner, None)]
