from __future__ import annotations

from dataclasses import dataclass

from gradmill.schedules._base import BuiltinSchedule


@dataclass(frozen=True)
class _Constant(BuiltinSchedule):
    value: float

    def at(self, count: float) -> float:  # noqa: ARG002  (every schedule takes a count)
        return self.value


def constant_schedule(value: float) -> BuiltinSchedule:
    """Return the same value at every step.

    Args:
        value: The value.

    Returns:
        A function of the step count.

    Example:
        >>> import gradmill as gm
        >>> gm.constant_schedule(0.1)(5)
        0.1
    """
    return _Constant(value)
