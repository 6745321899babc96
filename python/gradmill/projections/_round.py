"""The Euclidean ball and sphere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradmill import tree as trees
from gradmill._data.checks import real
from gradmill.projections._wide import chosen, functions_of, length, narrowed, widened
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from gradmill._data.types import PyTree


def projection_l2_sphere(tree: PyTree, scale: Any = 1) -> PyTree:
    r"""The nearest tree with a given Euclidean norm.

    .. math:: y = s \, x / \|x\|_2

    Args:
        tree: A tree of arrays.
        scale: The norm of the result, at least 0.

    Returns:
        A tree of new arrays of the same dtypes. All trees of that norm are as near to zeros as
        each other; for these it is one with equal elements.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
        TypeError: ``scale`` is not a number.
        ValueError: ``scale`` is negative or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_l2_sphere({"w": np.array([3.0, 4.0])}, 10.0)
        {'w': array([6., 8.])}
    """
    op, size = "projection_l2_sphere", real("scale", scale, at_least=0.0)
    wide = widened(op, "tree", tree)
    norm = length(wide)
    equal = lambda: trees.full_like(wide, size / max(trees.size(wide), 1) ** 0.5)
    onto = chosen(norm == 0, equal, lambda: _of_norm(op, wide, norm, size))
    return narrowed(op, onto, tree)


def projection_l2_ball(tree: PyTree, scale: Any = 1) -> PyTree:
    r"""The nearest tree whose Euclidean norm is at most a bound.

    .. math:: y = x \min(1, s / \|x\|_2)

    Args:
        tree: A tree of arrays.
        scale: The bound, at least 0.

    Returns:
        A tree of new arrays of the same dtypes, with the same elements where the norm is within
        the bound.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
        TypeError: ``scale`` is not a number.
        ValueError: ``scale`` is negative or NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_l2_ball({"w": np.array([3.0, 4.0])}, 10.0)
        {'w': array([3., 4.])}
        >>> gm.projections.projection_l2_ball({"w": np.array([3.0, 4.0])}, 1.0)
        {'w': array([0.6, 0.8])}
    """
    op, size = "projection_l2_ball", real("scale", scale, at_least=0.0)
    wide = widened(op, "tree", tree)
    norm = length(wide)
    inside = chosen(norm <= size, lambda: wide, lambda: _of_norm(op, wide, norm, size))
    return narrowed(op, inside, tree)


def _of_norm(op: str, wide: PyTree, norm: Any, size: Any) -> PyTree:
    """The tree with another norm than its own, which is not 0."""
    # Where it is, a program of JAX computes this nevertheless, and its derivative is to be finite.
    divisor = functions_of(wide).where(norm == 0, 1.0, norm)
    resized = lambda _, x: x / divisor * size
    return mapped(op, resized, {"tree": wide}, beside=(divisor, size), promotes=False)
