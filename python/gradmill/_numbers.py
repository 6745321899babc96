"""Counts, and what is computed with them: Python's numbers, or arrays of another library.

Schedules and controls are written once, for any namespace of array functions. That of Python's
numbers is :data:`HOST`, in float64; inside a program of JAX it is ``jax.numpy``.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np


class _Host:
    """Functions of Python's numbers, under the names that array libraries have for them."""

    cos = staticmethod(math.cos)
    floor = staticmethod(math.floor)
    sqrt = staticmethod(math.sqrt)
    minimum = staticmethod(min)
    maximum = staticmethod(max)
    logical_not = staticmethod(operator.not_)

    @staticmethod
    def asarray(value: Any) -> Any:
        return value

    @staticmethod
    def logical_and(first: bool, second: bool) -> bool:
        return first and second

    @staticmethod
    def logical_or(first: bool, second: bool) -> bool:
        return first or second

    @staticmethod
    def where(condition: bool, first: Any, second: Any) -> Any:
        return first if condition else second

    @staticmethod
    def power(base: float, exponent: float) -> float:
        """A power, infinite where ``0`` is raised to a negative one."""
        return math.inf if base == 0 and exponent < 0 else math.pow(base, exponent)


HOST: Any = _Host()


def is_foreign(value: object) -> bool:
    """Whether ``value`` is an array, or a scalar, of another library than NumPy.

    Those of JAX are, traced ones among them.
    """
    if isinstance(value, (int, float, np.ndarray, np.generic)):
        return False
    return hasattr(value, "__array_namespace__")


def namespace_of(value: Any) -> Any:
    """The functions to compute with ``value``: its library's own, or :data:`HOST`."""
    return value.__array_namespace__() if is_foreign(value) else HOST


def integer(count: Any) -> Any:
    """A count of NumPy as an int; one of another library as it is."""
    return count if is_foreign(count) else int(count)
