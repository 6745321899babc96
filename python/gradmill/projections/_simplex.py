"""The simplex, and the ball and sphere of the l1 norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradmill import tree as trees
from gradmill._data.checks import real
from gradmill._data.trees import flatten
from gradmill.projections._wide import chosen, functions_of, narrowed, widened
from gradmill.tree._leafwise import mapped, quietly

if TYPE_CHECKING:
    from gradmill._data.types import PyTree


def projection_simplex(tree: PyTree, scale: Any = 1) -> PyTree:
    r"""The nearest tree with nonnegative elements and a given sum: probabilities, if it is 1.

    .. math:: y_i = \max(x_i - \tau, 0), \qquad \tau \text{ such that } \sum_i y_i = s

    It takes :math:`O(n \log n)` time for :math:`n` elements.

    Args:
        tree: A tree of real arrays.
        scale: The sum, at least 0.

    Returns:
        A tree of new arrays of the same dtypes, with zeros where ``scale`` is 0, and NaN where
        there is one or an infinity.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: A leaf is complex.
        TypeError: ``scale`` is not a number.
        ValueError: ``scale`` is negative or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_simplex({"w": np.array([1.0, 0.5, -2.0])})
        {'w': array([0.75, 0.25, 0.  ])}

    References:
        Duchi, Shalev-Shwartz, Singer, Chandra, `Efficient projections onto the l1-ball for learning
        in high dimensions <https://doi.org/10.1145/1390156.1390191>`_, 2008
    """
    op, size = "projection_simplex", real("scale", scale, at_least=0.0)
    mapped(op, _see_real, {"tree": tree}, promotes=False)
    return narrowed(op, _on_simplex(op, widened(op, "tree", tree), size), tree)


def projection_l1_sphere(tree: PyTree, scale: Any = 1) -> PyTree:
    r"""The nearest tree whose absolute values sum to a given number.

    .. math:: y_i = \operatorname{sign}(x_i) \max(|x_i| - \tau, 0),
              \qquad \tau \text{ such that } \sum_i |y_i| = s

    Args:
        tree: A tree of arrays.
        scale: The sum, at least 0.

    Returns:
        A tree of new arrays of the same dtypes. Where a zero has to become another number, it
        becomes a positive one, as near as the negative one.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
        TypeError: ``scale`` is not a number.
        ValueError: ``scale`` is negative or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_l1_sphere({"w": np.array([1.0, -0.5, 0.0])})
        {'w': array([ 0.75, -0.25,  0.  ])}
    """
    op, size = "projection_l1_sphere", real("scale", scale, at_least=0.0)
    return narrowed(op, _on_l1_sphere(op, widened(op, "tree", tree), size), tree)


def projection_l1_ball(tree: PyTree, scale: Any = 1) -> PyTree:
    r"""The nearest tree whose absolute values sum to at most a bound; it tends to be sparse.

    .. math:: y_i = \operatorname{sign}(x_i) \max(|x_i| - \tau, 0),
              \qquad \text{the least } \tau \ge 0 \text{ such that } \sum_i |y_i| \le s

    Args:
        tree: A tree of arrays.
        scale: The largest sum, at least 0.

    Returns:
        A tree of new arrays of the same dtypes, with the same elements where the sum is within
        the bound.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
        TypeError: ``scale`` is not a number.
        ValueError: ``scale`` is negative or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_l1_ball({"w": np.array([1.0, -0.5, 0.25])})
        {'w': array([ 0.75, -0.25,  0.  ])}
    """
    op, size = "projection_l1_ball", real("scale", scale, at_least=0.0)
    wide = widened(op, "tree", tree)
    is_inside = trees.norm(wide, ord=1) <= size
    inside = chosen(is_inside, lambda: wide, lambda: _on_l1_sphere(op, wide, size))
    return narrowed(op, inside, tree)


def _see_real(xp: Any, leaf: Any) -> Any:
    if xp.iscomplexobj(leaf):
        raise ValueError("is complex, and complex numbers have no order")
    return leaf


def _on_simplex(op: str, wide: PyTree, size: Any) -> PyTree:
    if not trees.size(wide):
        return wide
    peak = trees.max(wide)
    level = quietly(_level, wide, peak, size)
    above = lambda xp, x: xp.maximum((x - peak) - level, 0.0)
    return mapped(op, above, {"tree": wide}, beside=(peak, level), promotes=False)


def _level(wide: PyTree, peak: Any, size: Any) -> Any:
    """What to take away from elements less the largest one, so that the rest has the sum."""
    xp = functions_of(wide)
    every = xp.concatenate([leaf.ravel() for leaf in flatten(wide)[0] if leaf is not None])
    # What is less than the largest one by the sum or more becomes 0, however small it is.
    down = -xp.sort(-xp.maximum(every - peak, -size))
    rest = xp.cumsum(down) - size
    ranks = xp.arange(1, every.size + 1)
    kept = xp.maximum(xp.sum(down * ranks > rest), 1)
    return rest[kept - 1] / kept


def _on_l1_sphere(op: str, wide: PyTree, size: Any) -> PyTree:
    sizes = mapped(op, lambda xp, x: xp.abs(x), {"tree": wide}, promotes=False)
    return mapped(
        op, _with_sign, {"tree": _on_simplex(op, sizes, size), "of": wide}, promotes=False
    )


def _with_sign(xp: Any, absolute: Any, like: Any) -> Any:
    size = xp.abs(like)
    return absolute * xp.where(size > 0, like / xp.where(size > 0, size, 1.0), 1.0)
