from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradmill._data.checks import number
from gradmill._data.recorded import recorded
from gradmill.schedules._base import BuiltinSchedule


@dataclass(frozen=True)
class _Constant(BuiltinSchedule):
    value: float

    def at(self, xp: Any, count: Any) -> Any:  # noqa: ARG002  (every schedule takes these)
        return self.value


@recorded
def constant_schedule(value: float) -> BuiltinSchedule:
    """Return the same value at every step.

    Args:
        value: The value at every step.

    Returns:
        A function of the step count.

    Raises:
        TypeError: ``value`` is not a real number.
        ValueError: ``value`` is NaN.

    Example:
        >>> import gradmill as gm
        >>> gm.constant_schedule(0.1)(5)
        0.1
    """
    return _Constant(number("value", value))
