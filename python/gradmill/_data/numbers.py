"""Counts, and what is computed with them: Python's numbers, or arrays of another library.

Schedules and controls are written once, for any namespace of array functions. That of Python's
numbers is :data:`HOST`, in float64; inside a JAX program it is ``jax.numpy``.
"""

from __future__ import annotations

import math
import operator
import sys
from typing import Any

import numpy as np

from gradmill._data.tape import Number


class _Host:
    """Functions of Python's numbers, under the names that array libraries have for them."""

    cos = staticmethod(math.cos)
    isfinite = staticmethod(math.isfinite)
    sqrt = staticmethod(math.sqrt)
    minimum = staticmethod(min)
    maximum = staticmethod(max)
    logical_not = staticmethod(operator.not_)

    @staticmethod
    def floor(value: float) -> float:
        return float(np.floor(value))

    @staticmethod
    def asarray(value: Any) -> Any:
        return value

    @staticmethod
    def logical_and(first: bool, second: bool) -> bool:
        return first and second

    @staticmethod
    def where(condition: bool, first: Any, second: Any) -> Any:
        return first if condition else second

    @staticmethod
    def power(base: float, exponent: float) -> float:
        """A power, infinite where ``0`` is raised to a negative one."""
        return math.inf if base == 0 and exponent < 0 else math.pow(base, exponent)

    @staticmethod
    def float_power(base: float, exponent: float) -> Any:
        """A power of NumPy: infinite where it is too large, NaN where there is none."""
        return np.power(float(base), exponent)


HOST: Any = _Host()


_AT_HAND = {bool, int, float, np.ndarray, np.bool_, np.int32, np.float32, np.float64}
"""Types whose values are known, that most values have."""


def is_traced(value: object) -> bool:
    """Whether ``value`` stands for what a JAX program, or a tape, will compute."""
    kind = type(value)
    if kind in _AT_HAND:
        return False
    if kind is Number:
        return True
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


TRACED = (
    "is traced by JAX, but this function runs on NumPy arrays; inside jit, grad and vmap use"
    " gradmill.jax.to_optax(tx) and optax's functions"
)
"""What is wrong with such a value where the host computes."""


def is_of_tracing(error: Exception) -> bool:
    """Whether JAX raised ``error`` because the value of something traced is not known."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(error, jax.errors.JAXTypeError)


def namespace_of(value: Any) -> Any:
    """The functions to compute with ``value``: those of JAX where it is traced, or :data:`HOST`."""
    return value.__array_namespace__() if is_traced(value) else HOST


def integer(count: Any) -> Any:
    """A count as an int, or as it is where it is traced."""
    return count if is_traced(count) else int(count)


def divisor(xp: Any, number: float, count: Any) -> Any:
    """``number``, to divide by; in a program for each count, in its widest float.

    To divide by a constant, or all elements by one number, XLA multiplies by the inverse, which is
    rounded: ``1 - 10 / 10`` is below 0, and ``floor(41 / 41)`` is 0.
    """
    if xp is HOST:
        return number
    # The comparison gives it the shape of the counts, also where they are mapped.
    numbers = xp.where(count < 0, float(number), float(number))
    jax: Any = sys.modules.get("jax")
    is_jax = jax is not None and xp is jax.numpy
    return jax.lax.optimization_barrier(numbers) if is_jax else numbers


def is_foreign(value: object) -> bool:
    """Whether ``value`` is an array of another library than NumPy, such as JAX; traced ones are."""
    return not isinstance(value, (np.ndarray, np.generic)) and hasattr(value, "__array_namespace__")


def library_of(array: Any) -> Any:
    """The functions over whole arrays such as ``array``: its library's own, or NumPy's."""
    return array.__array_namespace__() if is_foreign(array) else np
