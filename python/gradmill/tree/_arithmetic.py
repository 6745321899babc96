"""Elementwise arithmetic of trees."""

from __future__ import annotations

from functools import reduce
from operator import add as _plus
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill.tree._dtypes import is_exact
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from gradmill._data.types import PyTree


def add(tree_x: PyTree, tree_y: PyTree, *other_trees: PyTree) -> PyTree:
    """Add trees leaf by leaf.

    Args:
        tree_x: A tree of arrays.
        tree_y: A tree of the same structure; leaves broadcast.
        other_trees: More trees of the same structure.

    Returns:
        A tree of new arrays, in the common dtype of the leaves; bools count as integers.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.add({"w": np.ones(2)}, {"w": np.array([1.0, 2.0])}, {"w": 0.5})
        {'w': array([2.5, 3.5])}
    """
    trees = {"tree_x": tree_x, "tree_y": tree_y}
    trees |= {f"other_trees[{at}]": other for at, other in enumerate(other_trees)}

    def total(xp: Any, *given: Any) -> Any:  # noqa: ARG001  (formulas of trees have one signature)
        *leaves, _ = given
        is_bool = all(getattr(leaf, "dtype", None) == np.bool_ for leaf in leaves)
        return reduce(_plus, leaves, 0) if is_bool else reduce(_plus, leaves)

    # Beside an integer, bools count as such.
    return mapped("add", total, trees, (0,))


def sub(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Subtract one tree from another, leaf by leaf.

    Args:
        tree_x: A tree of arrays.
        tree_y: What to subtract, of the same structure; leaves broadcast.

    Returns:
        A tree of new arrays, in the common dtype of the leaves.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers, or both are bools.
        LeafValueError: Shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.sub([np.ones(2)], [np.array([1.0, 2.0])])
        [array([ 0., -1.])]
    """
    return mapped("sub", lambda _, x, y: x - y, {"tree_x": tree_x, "tree_y": tree_y})


def mul(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Multiply two trees leaf by leaf.

    Args:
        tree_x: A tree of arrays.
        tree_y: A tree of the same structure; leaves broadcast.

    Returns:
        A tree of new arrays, in the common dtype of the leaves.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.mul([np.array([3.0, 4.0])], [np.array([1.0, 2.0])])
        [array([3., 8.])]
    """
    return mapped("mul", lambda _, x, y: x * y, {"tree_x": tree_x, "tree_y": tree_y})


def div(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Divide one tree by another, leaf by leaf.

    Args:
        tree_x: A tree of arrays.
        tree_y: What to divide by, of the same structure; leaves broadcast.

    Returns:
        A tree of new arrays, in the common dtype of the leaves. Quotients of integers are float32,
        or float64 for 64-bit ones.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.div([np.array([3.0, 4.0])], [np.array([1.0, 2.0])])
        [array([3., 2.])]
    """
    return mapped("div", _quotient, {"tree_x": tree_x, "tree_y": tree_y})


def _quotient(xp: Any, x: Any, y: Any) -> Any:
    quotient = xp.divide(x, y)
    if xp is np and is_exact(x.dtype) and x.dtype.itemsize < 8:
        return quotient.astype(np.float32)
    return quotient


def scale(scalar: Any, tree: PyTree) -> PyTree:
    """Multiply all leaves by a number.

    Args:
        scalar: A number or an array. A Python number takes on the dtype of each leaf; a NumPy
            number widens narrower leaves.
        tree: A tree of arrays.

    Returns:
        A tree of new arrays.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.scale(0.5, {"w": np.array([1.0, 2.0], np.float32)})
        {'w': array([0.5, 1. ], dtype=float32)}
    """
    return mapped("scale", lambda _, x, s: s * x, {"tree": tree}, (scalar,))


def add_scale(tree_x: PyTree, scalar: Any, tree_y: PyTree) -> PyTree:
    """Add a multiple of one tree to another: ``x + scalar * y``.

    Args:
        tree_x: A tree of arrays. None stays None, whatever the other tree has in its place.
        scalar: A number or an array. A Python number takes on the dtype of each leaf.
        tree_y: A tree of the same structure; leaves broadcast.

    Returns:
        A tree of new arrays, in the common dtype of the leaves.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.add_scale([np.ones(2), None], -0.5, [np.array([1.0, 2.0]), None])
        [array([0.5, 0. ]), None]
    """
    trees = {"tree_x": tree_x, "tree_y": tree_y}
    return mapped("add_scale", lambda _, x, y, s: x + s * y, trees, (scalar,), skips_none=True)


def where(condition: Any, tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Take elements of one tree where a condition holds, and of another where it does not.

    Args:
        condition: A bool or an array of bools, which is broadcast with all leaves.
        tree_x: Where to take elements from if the condition holds.
        tree_y: Where to take elements from otherwise, a tree of the same structure.

    Returns:
        A tree of new arrays, in the common dtype of the leaves.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.where(np.array([True, False]), [np.ones(2)], [np.zeros(2)])
        [array([1., 0.])]
    """
    trees = {"tree_x": tree_x, "tree_y": tree_y}
    choose = lambda xp, x, y: xp.where(condition, x, y)
    return mapped("where", choose, trees, beside=(condition,))


def clip(tree: PyTree, min_value: Any = None, max_value: Any = None) -> PyTree:
    """Clip all elements to an interval.

    Args:
        tree: A tree of real arrays.
        min_value: The lower bound, a number or an array; None for no bound.
        max_value: The upper bound. If it is below the lower one, it wins.

    Returns:
        A tree of new arrays; NaN stays NaN.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: A leaf is complex, or shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.clip([np.array([-3.0, 0.5, 7.0])], -1.0, 1.0)
        [array([-1. ,  0.5,  1. ])]
    """
    bounds = [bound for bound in (min_value, max_value) if bound is not None]

    def bounded(xp: Any, x: Any, *given: Any) -> Any:
        if xp.iscomplexobj(x):
            raise ValueError("is complex, and complex numbers have no order")
        ends = iter(given)
        if min_value is not None:
            x = xp.maximum(x, next(ends))
        return x if max_value is None else xp.minimum(x, next(ends))

    return mapped("clip", bounded, {"tree": tree}, bounds)


def real(tree: PyTree) -> PyTree:
    """The real parts of all elements.

    Args:
        tree: A tree of arrays.

    Returns:
        A tree of new arrays of real numbers.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.real([np.array([1.0 + 2.0j])])
        [array([1.])]
    """
    return mapped("real", lambda xp, x: xp.real(x), {"tree": tree}, promotes=False)


def conj(tree: PyTree) -> PyTree:
    """The complex conjugates of all elements.

    Args:
        tree: A tree of arrays.

    Returns:
        A tree of new arrays of the same dtypes.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.conj([np.array([1.0 + 2.0j])])
        [array([1.-2.j])]
    """
    conjugate = lambda xp, x: xp.conj(x) if xp.iscomplexobj(x) else xp.asarray(x)
    return mapped("conj", conjugate, {"tree": tree}, promotes=False)
