"""What a transformation does, as plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from gradmill._data.slots import Slot
    from gradmill._data.types import Mask, ScalarOrSchedule, TransformationLike
    from gradmill._ops.op import Op
    from gradmill._plan.control import Control


@dataclass(frozen=True)
class Spec:
    """One transformation that an op does, or the host alone.

    Attributes:
        op: The op, or None for one that changes no update by itself.
        state: The class of the state, a NamedTuple of the slots and of what the host keeps, such as
            ``count``.
        hyper: The hyperparameters, by the names that the op's scalars and formula use.
        slots: The state arrays.
        axes: The axes of a unit, where the op has units and these are not its usual ones; of an op
            with factors, how long the second longest axis has to be.
        control: What the host does in each step; None where all it does is to count steps.
        counters: The fields in which it counts them, where the state has such; the op is told the
            first.
    """

    op: Op | None
    state: type[Any]
    hyper: Mapping[str, ScalarOrSchedule] = field(default_factory=dict)
    slots: tuple[Slot, ...] = ()
    axes: tuple[int, ...] | None = None
    control: Control | None = None
    counters: tuple[str, ...] = ("count",)

    @property
    def counts(self) -> tuple[str, ...]:
        """The fields in which the host counts steps, where that is all that it does."""
        if self.control is not None:
            return ()
        return tuple(name for name in self.counters if name in self.state._fields)


@dataclass(frozen=True)
class Masked:
    """A transformation applied to the leaves where ``mask`` is true.

    With ``masks_extra``, extra arguments that are trees like the updates are masked as well.
    """

    inner: TransformationLike
    mask: Mask
    masks_extra: bool = False


@dataclass(frozen=True)
class Chained:
    """Transformations one after the other, by position or by name."""

    members: tuple[TransformationLike, ...]
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Partitioned:
    """For each label the transformation of the leaves that bear it."""

    members: Mapping[Hashable, TransformationLike]
    labels: Labels
    masks_extra: bool = False


@dataclass(frozen=True)
class Gated:
    """A transformation that ``spec`` lets run, or not, step by step.

    Attributes:
        spec: The gate, whose state holds that of ``inner`` in ``field``.
        inner: The transformation behind it.
        field: The name of the field.
    """

    spec: Spec
    inner: TransformationLike
    field: str


@dataclass(frozen=True)
class Followed:
    """A transformation whose updates pass ``spec``, which holds its state.

    Attributes:
        inner: The transformation.
        spec: What comes behind it; its state holds that of ``inner`` in ``field``.
        field: The name of the field.
    """

    inner: TransformationLike
    spec: Spec
    field: str


@dataclass(frozen=True)
class Preceded:
    """A transformation whose updates have passed ``spec``, which keeps no state that shows.

    Attributes:
        spec: What comes before it.
        inner: The transformation, whose state is that of both.
    """

    spec: Spec
    inner: TransformationLike


@dataclass(frozen=True)
class Coded:
    """A transformation whose state is in 8 bits a number, of leaves that ``masks`` leave."""

    inner: TransformationLike
    masks: tuple[Mask, ...]


@dataclass(frozen=True)
class Labels:
    """The label of each leaf.

    Attributes:
        source: A tree of labels with the structure of the parameters or of its upper part, a
            function of the tree that returns one, or a function of path and leaf that returns a
            label.
        allowed: The labels that there may be.
        by_choice: Whether ``source`` returns a choice among transformations: a bool, where true is
            the first of two, or a position.
    """

    source: Any
    allowed: tuple[Hashable, ...]
    by_choice: bool = False


@dataclass(frozen=True)
class LabelMask:
    """Selects the leaves that bear ``label``."""

    labels: Labels
    label: Hashable


@dataclass(frozen=True)
class Flattened:
    """A transformation of all leaves joined to one vector. Here it runs in Python."""

    inner: TransformationLike


@dataclass(frozen=True)
class Around:
    """A transformation of other trees, which ``wrap`` makes of that inside. It runs in Python.

    The functions that ``wrap`` returns take arrays of any library.
    """

    inner: TransformationLike
    wrap: Callable[[TransformationLike], TransformationLike]


Description: TypeAlias = (
    Spec | Masked | Chained | Partitioned | Gated | Followed | Preceded | Coded | Flattened | Around
)
