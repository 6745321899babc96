"""What algorithms that estimate a learning rate compute with beside trees."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gradmill._data.checks import real
from gradmill._data.numbers import integer, is_traced
from gradmill._ops.common import correction
from gradmill.transforms._numbers import copy_of as copy_of
from gradmill.transforms._numbers import dtype_of_numbers as dtype_of_numbers
from gradmill.transforms._numbers import larger as larger
from gradmill.transforms._numbers import number as number
from gradmill.transforms._numbers import zero_count as zero_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree, ScalarOrSchedule


def number(xp: Any, value: Any) -> Any:
    """A number to compute with: on the host one of Python's, which widens no array."""
    return float(value) if xp is np else value


def larger(xp: Any, first: Any, second: Any) -> Any:
    """The larger of two numbers; NaN where one is."""
    return number(xp, xp.maximum(first, second))


def rate_at(learning_rate: ScalarOrSchedule, count: Any) -> Any:
    """The learning rate of the step with a count."""
    return learning_rate(integer(count)) if callable(learning_rate) else learning_rate


def real_number(value: Any) -> Any:
    """A number of a state as one of Python's, or in the widest float where it is traced."""
    if is_traced(value):
        return value.__array_namespace__().asarray(value, float)
    return float(value)


def adams_corrections(xp: Any, b1: Any, b2: Any, count: Any) -> Any:
    """What both corrections of Adam's make of a learning rate, in the step with a count from 0."""
    steps = integer(count) + 1.0
    return number(xp, xp.sqrt(correction(b2, steps))) / correction(b1, steps)


def branch(condition: Any, yes: Callable[..., Any], no: Callable[..., Any], *args: Any) -> Any:
    """What one of two functions makes of arrays; in a program of JAX, the other does not run."""
    if is_traced(condition):
        jax: Any = sys.modules["jax"]
        return jax.lax.cond(condition, yes, no, *args)
    return yes(*args) if condition else no(*args)


def dtype_of_numbers(params: PyTree) -> np.dtype[Any]:
    """The dtype of a state's numbers: the narrowest among the parameters, float32 at least."""
    return np.promote_types(tree.dtype(params, "lowest"), np.float32)


def zero_count(xp: Any) -> Any:
    """A count of no steps."""
    return xp.zeros((), xp.int32)


def copy_of(params: PyTree, dtype: Any = None) -> PyTree:
    """The parameters in memory of their own, which nobody else writes to or gives away."""
    return mapped("copy", lambda xp, x: xp.array(x, dtype), {"params": params}, promotes=False)


def decay(name: str, value: object) -> float:
    """The share of the old average in each step."""
    return real(name, value, at_least=0, below=1)


def decays(betas: tuple[float, float]) -> dict[str, float]:
    """Both decays of Adam's by name."""
    b1, b2 = betas
    return {"b1": decay("betas[0]", b1), "b2": decay("betas[1]", b2)}
