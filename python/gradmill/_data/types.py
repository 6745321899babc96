"""The types that transformations and their states are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    import typing_extensions

PyTree: TypeAlias = Any
"""Arrays in dicts, lists, tuples, NamedTuples or registered classes, or one array alone."""

if TYPE_CHECKING:
    # Before Python 3.13 only type checkers know defaults.
    P = typing_extensions.TypeVar("P", default=Any)
else:
    P = TypeVar("P")
"""The type of a tree of parameters, where a result has it too."""

Params: TypeAlias = PyTree
"""A tree of parameters."""

Updates: TypeAlias = PyTree
"""A tree of gradients, or of what transformations made of them."""

OptState: TypeAlias = PyTree
"""The state of a transformation."""

Schedule: TypeAlias = Callable[[int], float]
"""A function of the step count, which starts at 0."""

ScalarOrSchedule: TypeAlias = float | Schedule
"""A hyperparameter that may change from step to step."""

Mask: TypeAlias = PyTree | Callable[..., PyTree]
"""A tree of bools, or a function that makes one: of the tree, or of each path and leaf."""

MaskOrFn: TypeAlias = PyTree | Callable[[PyTree], PyTree] | None
"""A tree of bools, or a function that makes one of parameters."""

NO_PARAMS_MSG = "needs the current parameters: call update(updates, state, params)"
"""What is wrong where there are none; the name of a transformation stands before it."""


class TransformInitFn(Protocol):
    """Makes the state for parameters.

    Example:
        >>> import gradmill as gm
        >>> init: gm.TransformInitFn = gm.init_empty_state
    """

    def __call__(self, params: PyTree, /) -> PyTree:
        """Return the initial state."""
        ...


class TransformUpdateFn(Protocol):
    """Transforms updates.

    Example:
        >>> import gradmill as gm
        >>> update: gm.TransformUpdateFn = gm.scale(2.0).update
    """

    def __call__(
        self, updates: PyTree, state: PyTree, params: PyTree | None = None
    ) -> tuple[PyTree, PyTree]:
        """Return the new updates and the new state."""
        ...


class TransformUpdateExtraArgsFn(Protocol):
    """Transforms updates, given more than parameters.

    Example:
        >>> import gradmill as gm
        >>> update: gm.TransformUpdateExtraArgsFn = gm.chain(gm.scale(2.0)).update
    """

    def __call__(
        self,
        updates: PyTree,
        state: PyTree,
        params: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, PyTree]:
        """Return the new updates and the new state."""
        ...


class ShouldSkipUpdateFunction(Protocol):
    """Says whether :class:`MultiSteps` leaves out updates, and what it found, as a tree.

    Example:
        >>> import gradmill as gm
        >>> skips: gm.ShouldSkipUpdateFunction = gm.skip_not_finite
    """

    def __call__(
        self, updates: PyTree, gradient_step: Any, params: PyTree | None
    ) -> tuple[Any, PyTree]:
        """Return whether to leave them out, and what was found."""
        ...


class ConditionFn(Protocol):
    """Says whether the transformation in :func:`conditionally_transform` runs in a step.

    Example:
        >>> import gradmill as gm
        >>> from gradmill.transforms import ConditionFn
        >>> holds: ConditionFn = lambda step, **_: step % 2 == 0
    """

    def __call__(self, step: Any, **extra_args: Any) -> Any:
        """Return a bool for the number of steps taken."""
        ...


class EmptyState(NamedTuple):
    """The state of a transformation that remembers nothing.

    Example:
        >>> import gradmill as gm
        >>> gm.scale(2.0).init({"w": 1.0})
        EmptyState()
    """


class MaskedState(NamedTuple):
    """The state of a masked transformation.

    Attributes:
        inner_state: The state of the inner transformation, with ``MaskedNode`` for other leaves.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.add_decayed_weights(1e-4, mask={"w": True}).init({"w": np.ones(2)})
        MaskedState(inner_state=EmptyState())
    """

    inner_state: Any


class PartitionState(NamedTuple):
    """The state of :func:`gradmill.partition`.

    Attributes:
        inner_states: For each label a :class:`MaskedState`.

    Example:
        >>> import gradmill as gm
        >>> gm.partition({"a": gm.scale(1.0)}, {"w": "a"}).init({"w": 1.0})
        PartitionState(inner_states={'a': MaskedState(inner_state=EmptyState())})
    """

    inner_states: Any


class WrappedScheduleState(NamedTuple):
    """The state of :class:`WrappedSchedule`.

    Attributes:
        count: Steps taken, a 0-d int32 array.

    Example:
        >>> import gradmill as gm
        >>> gm.WrappedSchedule(gm.constant_schedule(0.1)).init()
        WrappedScheduleState(count=array(0, dtype=int32))
    """

    count: Any


class TransformationLike(Protocol):
    """Anything that can stand where a transformation can, such as a ``MultiSteps``."""

    @property
    def init(self) -> Callable[..., PyTree]:
        """Makes the state for parameters."""
        ...

    @property
    def update(self) -> Callable[..., tuple[PyTree, PyTree]]:
        """Returns the new updates and the new state."""
        ...


def is_transformation(value: object) -> bool:
    """Whether ``value`` has ``init`` and ``update``: a tuple of masks has not, a MultiSteps has."""
    return (
        not isinstance(value, type)
        and callable(getattr(value, "init", None))
        and callable(getattr(value, "update", None))
    )
