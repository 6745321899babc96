"""Sets that bound each element separately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.checks import is_real, real
from gradmill.projections._wide import spread
from gradmill.tree import scale as scaled
from gradmill.tree._dtypes import is_exact
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from gradmill._data.types import PyTree


def projection_non_negative(tree: PyTree) -> PyTree:
    r"""The nearest tree with nonnegative elements.

    .. math:: y_i = \max(x_i, 0)

    Args:
        tree: A tree of real arrays.

    Returns:
        A tree of new arrays of the same dtypes; NaN stays NaN.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: A leaf is complex.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_non_negative({"w": np.array([-1.0, 2.0])})
        {'w': array([0., 2.])}
    """
    bound = lambda xp, x: _between(xp, x, 0, None)
    return mapped("projection_non_negative", bound, {"tree": tree}, promotes=False)


def projection_box(tree: PyTree, lower: Any, upper: Any) -> PyTree:
    r"""The nearest tree with all elements between bounds.

    .. math:: y_i = \min(\max(x_i, l_i), u_i)

    Args:
        tree: A tree of real arrays.
        lower: The lower bounds: a number, or a tree of the same structure whose leaves broadcast.
        upper: The upper bounds, a number or a tree too. Where an upper bound is below its lower
            bound, the upper one wins.

    Returns:
        A tree of new arrays of the same dtypes; NaN stays NaN.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: A leaf is complex, or shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_box({"w": np.array([-3.0, 0.5, 7.0])}, -1.0, {"w": 2.0})
        {'w': array([-1. ,  0.5,  2. ])}
    """
    trees = {"tree": tree, "lower": spread(lower, tree), "upper": spread(upper, tree)}
    return mapped("projection_box", _between, trees, promotes=False)


def projection_hypercube(tree: PyTree, scale: Any = 1) -> PyTree:
    r"""The nearest tree with all elements between 0 and a bound.

    .. math:: y_i = \min(\max(x_i, 0), s)

    Args:
        tree: A tree of real arrays.
        scale: The bound: a nonnegative number, or a tree of the same structure.

    Returns:
        A tree of new arrays of the same dtypes; NaN stays NaN.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: A leaf is complex, or shapes do not broadcast.
        ValueError: ``scale`` is a negative number, or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_hypercube({"w": np.array([-3.0, 0.5, 7.0])}, 2.0)
        {'w': array([0. , 0.5, 2. ])}
    """
    return projection_box(tree, 0, _size(scale))


def projection_linf_ball(tree: PyTree, scale: Any = 1) -> PyTree:
    r"""The nearest tree whose elements are at most a bound in absolute value.

    .. math:: y_i = \min(\max(x_i, -s), s)

    Args:
        tree: A tree of real arrays.
        scale: The bound: a nonnegative number, or a tree of the same structure.

    Returns:
        A tree of new arrays of the same dtypes; NaN stays NaN.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: A leaf is complex, or shapes do not broadcast.
        ValueError: ``scale`` is a negative number, or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_linf_ball({"w": np.array([-3.0, 0.5, 7.0])}, 2.0)
        {'w': array([-2. ,  0.5,  2. ])}
    """
    bound = _size(scale)
    return projection_box(tree, scaled(-1, bound), bound)


def _size(scale: Any) -> Any:
    """A number, seen not to be negative and as it was given; a tree as it is."""
    if is_real(scale):
        real("scale", scale, at_least=0.0)
    return scale


def _between(xp: Any, x: Any, lower: Any, upper: Any) -> Any:
    """``x`` between the bounds; floats keep their dtype."""
    x = xp.asarray(x)
    if xp.iscomplexobj(x):
        raise ValueError("is complex, and complex numbers have no order")
    dtype = None if is_exact(x.dtype) else x.dtype
    if dtype is not None and xp is np:
        x = x.astype(np.float64)
    y = xp.maximum(x, lower)
    y = y if upper is None else xp.minimum(y, upper)
    return y if dtype is None else y.astype(dtype)
