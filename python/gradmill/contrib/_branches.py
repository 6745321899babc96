"""Conditional execution, on the host and in JAX programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.trees import tree_map
from gradmill._run.trees import settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree


def either(
    xp: Any, condition: Any, first: Callable[[], PyTree], second: Callable[[], PyTree]
) -> PyTree:
    """What ``first`` returns where a condition holds, else what ``second`` does; one of them runs.

    Args:
        xp: The functions of the library that the condition is of.
        condition: A bool, or an array of one.
        first: Returns a tree.
        second: Returns a tree of the same structure and dtypes.
    """
    if xp is np:
        return first() if condition else second()
    from jax import lax  # noqa: PLC0415  (who has such a condition has imported JAX)

    return lax.cond(condition, first, second)


def kept(xp: Any, state: PyTree) -> PyTree:
    """A state that a step does not change, with its arrays in C order."""
    return tree_map(lambda leaf: settled(xp, leaf, leaf), state)
