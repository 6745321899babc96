"""Scalar arithmetic for algorithms that estimate a learning rate."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gradmill._data.checks import real
from gradmill._data.numbers import integer, is_traced
from gradmill.transforms._numbers import copy_of as copy_of
from gradmill.transforms._numbers import dtype_of_numbers as dtype_of_numbers
from gradmill.transforms._numbers import larger as larger
from gradmill.transforms._numbers import number as number
from gradmill.transforms._numbers import zero_count as zero_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import ScalarOrSchedule


def rate_at(learning_rate: ScalarOrSchedule, count: Any) -> Any:
    """The learning rate of the step with a count."""
    return learning_rate(integer(count)) if callable(learning_rate) else learning_rate


def real_number(value: Any) -> Any:
    """A number of a state as one of Python's, or in the widest float where it is traced."""
    if is_traced(value):
        return value.__array_namespace__().asarray(value, float)
    return float(value)


def branch(condition: Any, yes: Callable[..., Any], no: Callable[..., Any], *args: Any) -> Any:
    """What one of two functions makes of arrays; in a JAX program, the other does not run."""
    if is_traced(condition):
        jax: Any = sys.modules["jax"]
        return jax.lax.cond(condition, yes, no, *args)
    return yes(*args) if condition else no(*args)


def decay(name: str, value: object) -> float:
    """The share of the old average in each step."""
    return real(name, value, at_least=0, below=1)


def decays(betas: tuple[float, float]) -> dict[str, float]:
    """Both decays of Adam's by name."""
    b1, b2 = betas
    return {"b1": decay("betas[0]", b1), "b2": decay("betas[1]", b2)}
