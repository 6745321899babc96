from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from gradmill._data.numbers import integer
from gradmill._data.types import WrappedScheduleState
from gradmill._plan.scalars import safe_increment
from gradmill.schedules._named import call_at

if TYPE_CHECKING:
    from gradmill._data.types import PyTree, Schedule


@runtime_checkable
class StatefulSchedule(Protocol):
    """A schedule with state, such as one that looks at the loss.

    Any object with these three methods is one. All three are pure; in each step ``update`` is
    called after ``__call__``, with the same extra arguments.

    Example:
        >>> from gradmill.schedules import StatefulSchedule, WrappedSchedule
        >>> isinstance(WrappedSchedule(lambda count: 0.1), StatefulSchedule)
        True
    """

    def init(self) -> PyTree:
        """Return the initial state."""
        ...

    def update(self, state: PyTree, **extra_args: Any) -> PyTree:
        """Return the state of the next step."""
        ...

    def __call__(self, state: PyTree, **extra_args: Any) -> Any:
        """Return the value that ``state`` stands for."""
        ...


@dataclass(frozen=True)
class WrappedSchedule:
    """A function of the step count as a :class:`StatefulSchedule`, whose state is the count.

    Args:
        schedule_fn: A function of the step count.

    Example:
        >>> import gradmill as gm
        >>> schedule = gm.WrappedSchedule(gm.linear_schedule(1.0, 0.0, 4))
        >>> state = schedule.init()
        >>> schedule(state), schedule(schedule.update(state))
        (1.0, 0.75)
    """

    schedule_fn: Schedule

    def init(self) -> WrappedScheduleState:
        """Return a count of 0."""
        return WrappedScheduleState(np.zeros((), np.int32))

    def update(
        self,
        state: WrappedScheduleState,
        **extra_args: Any,  # noqa: ARG002  (a count needs none)
    ) -> WrappedScheduleState:
        """Return a count that is one higher, or the same at the largest of its dtype."""
        return WrappedScheduleState(safe_increment(state.count))

    def __call__(
        self,
        state: WrappedScheduleState,
        **extra_args: Any,  # noqa: ARG002  (the value is that at the count)
    ) -> float:
        """Return the function's value at the count."""
        value: float = call_at(self.schedule_fn, integer(state.count))
        return value
