"""Schedules as transformations call them: with counts that act as arrays, and checked."""

from __future__ import annotations

from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.checks import number_of, real, refusal
from gradmill._data.numbers import is_foreign, is_traced
from gradmill._data.quiet import quietly
from gradmill._data.tape import Number, UnwritableError
from gradmill.schedules._base import is_own

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import ScalarOrSchedule, Schedule


def call_at(function: Callable[..., Any], count: Any, **kwargs: Any) -> Any:
    """What a function of a count returns, whoever wrote it.

    This package's schedules take Python's ints, which are the fastest. To others a count is what it
    is in optax, an array: it has a dtype, and to the power of -0.5 it is infinite at 0. It is an
    int64, in which a count of samples or of tokens does not overflow as it would in an int32.
    """
    if type(count) is int and type(function) is FunctionType:
        return quietly(function, np.int64(count), kwargs)
    if is_foreign(count):
        if isinstance(count, Number) and not (
            isinstance(function, NamedSchedule) or is_own(function)
        ):
            # It would be called once, and what it returns would not be looked at.
            raise UnwritableError
        return function(count, **kwargs)
    if is_own(function):
        return function(count, **kwargs)
    return quietly(function, np.int64(count), kwargs)


def value_of(name: str, value: Any) -> Any:
    """What a schedule returned, as a float, or as it is where it is traced; a bool is 0 or 1.

    Raises:
        TypeError: It is not a real scalar; the message has the hyperparameter's ``name``.
        ValueError: It is NaN; the message has the ``name``.
    """
    if getattr(value, "dtype", type(value)) in (bool, np.bool_):
        value = value * 1.0
    found = number_of(value)
    if found is None:
        wanted, given = refusal(value)
        raise TypeError(f"{name}: the schedule returned {given}, expected {wanted}")
    if is_traced(found):
        return found
    if found != found:  # noqa: PLR0124  (a NaN is not itself)
        raise ValueError(f"{name}: the schedule returned nan, expected a real number")
    return float(found)


@dataclass(frozen=True)
class NamedSchedule:
    """A schedule of the user's that stands for a hyperparameter.

    Attributes:
        name: The hyperparameter.
        schedule: The schedule.
    """

    name: str
    schedule: Schedule

    def __call__(self, count: Any) -> Any:
        """Return the value at a count, checked."""
        if isinstance(count, Number):
            return count.tape.call(self, count)
        return value_of(self.name, call_at(self.schedule, count))


def named(name: str, schedule: Schedule) -> Schedule:
    """``schedule`` as it can be called for the hyperparameter ``name`` with an int."""
    return schedule if is_own(schedule) else NamedSchedule(name, schedule)


def real_or_schedule(name: str, value: object, **bounds: float) -> ScalarOrSchedule:
    """Return a function as one that can be called with an int, and anything else as a float.

    ``bounds`` are those of :func:`gradmill._data.checks.real`, for a number.

    Raises:
        TypeError: ``value`` is neither; the message has ``name``.
        ValueError: ``value`` is NaN or out of bounds; the message has ``name``.
    """
    return named(name, value) if callable(value) else real(name, value, **bounds)
