"""Scalar arithmetic for tree formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill import tree
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from gradmill._data.types import PyTree


def number(xp: Any, value: Any) -> Any:
    """A number to compute with: on the host one of Python's, which widens no array."""
    return float(value) if xp is np else value


def larger(xp: Any, first: Any, second: Any) -> Any:
    """The larger of two numbers; NaN where one is."""
    return number(xp, xp.maximum(first, second))


def dtype_of_numbers(params: PyTree) -> np.dtype[Any]:
    """The dtype of a state's numbers: the narrowest among the parameters, float32 at least."""
    return np.promote_types(tree.dtype(params, "lowest"), np.float32)


def zero_count(xp: Any) -> Any:
    """A count of no steps."""
    return xp.zeros((), xp.int32)


def copy_of(params: PyTree, dtype: Any = None) -> PyTree:
    """The parameters in memory of their own, which nobody else writes to or gives away."""
    return mapped("copy", lambda xp, x: xp.array(x, dtype), {"params": params}, promotes=False)
