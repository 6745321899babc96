"""Sets with a normal vector: a line through zero, a plane, a half space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill import tree as trees
from gradmill._data.checks import real
from gradmill._data.numbers import is_traced
from gradmill._data.trees import leaf_path
from gradmill.errors import LeafValueError
from gradmill.projections._wide import functions_of, length, narrowed, widened
from gradmill.tree._leafwise import columns, mapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree


def projection_vector(x: PyTree, a: PyTree) -> PyTree:
    r"""The nearest multiple of a given tree.

    .. math:: y = \frac{\langle a, x \rangle}{\langle a, a \rangle} a

    Args:
        x: A tree of arrays.
        a: A tree of the same structure and shapes.

    Returns:
        A tree of new arrays in the dtypes of ``x``; zeros where ``a`` has no other elements.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Two leaves differ in shape.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_vector(np.array([3.0, 1.0]), np.array([1.0, 1.0]))
        array([2., 2.])
    """
    return _moved("projection_vector", x, a, lambda _, __, unit, of_x, ___: of_x * unit)


def projection_hyperplane(x: PyTree, a: PyTree, b: Any) -> PyTree:
    r"""The nearest tree whose inner product with a normal is a given number.

    .. math:: y = x + \frac{b - \langle a, x \rangle}{\langle a, a \rangle} a

    Args:
        x: A tree of arrays.
        a: The normal vector, a tree of the same structure and shapes.
        b: The inner product of the result and ``a``.

    Returns:
        A tree of new arrays in the dtypes of ``x``.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Two leaves differ in shape.
        TypeError: ``b`` is not a number.
        ValueError: ``b`` is NaN, or all elements of ``a`` are 0.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_hyperplane(np.array([3.0, 1.0]), np.array([2.0, 0.0]), 2.0)
        array([1., 1.])
    """

    def move(_: Any, x: Any, unit: Any, of_x: Any, norm: Any) -> Any:
        return x + (level / norm - of_x) * unit

    level = real("b", b)
    return _moved("projection_hyperplane", x, a, move, needs_normal=True)


def projection_halfspace(x: PyTree, a: PyTree, b: Any) -> PyTree:
    r"""The nearest tree whose inner product with a normal is at most a given number.

    .. math:: y = x + \min\left(\frac{b - \langle a, x \rangle}{\langle a, a \rangle}, 0\right) a

    Args:
        x: A tree of real arrays.
        a: The normal vector, a tree of the same structure and shapes.
        b: The largest inner product of the result and ``a``.

    Returns:
        A tree of new arrays in the dtypes of ``x``, with the same elements where the inner product
        is within the bound.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Two leaves differ in shape, or one is complex.
        TypeError: ``b`` is not a number.
        ValueError: ``b`` is NaN, or all elements of ``a`` are 0.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.projections.projection_halfspace(np.array([3.0, 1.0]), np.array([2.0, 0.0]), 2.0)
        array([1., 1.])
        >>> gm.projections.projection_halfspace(np.array([3.0, 1.0]), np.array([2.0, 0.0]), 8.0)
        array([3., 1.])
    """

    def move(xp: Any, x: Any, unit: Any, of_x: Any, norm: Any) -> Any:
        if xp.iscomplexobj(of_x):
            raise ValueError("is complex, and complex numbers have no order")
        return x + xp.minimum(level / norm - of_x, 0.0) * unit

    level = real("b", b)
    return _moved("projection_halfspace", x, a, move, needs_normal=True)


def _moved(
    op: str, x: PyTree, a: PyTree, move: Callable[..., Any], *, needs_normal: bool = False
) -> PyTree:
    """What ``move(xp, x, unit, of_x, norm)`` makes of each leaf.

    ``unit`` is a leaf of ``a`` by its norm, ``of_x`` the inner product of that with ``x``.
    """
    _see_shapes(op, x, a)
    wide, normal = widened(op, "x", x), widened(op, "a", a)
    norm = length(normal)
    if needs_normal and not is_traced(norm) and norm == 0:
        raise ValueError("a must have a nonzero element; otherwise there is no such plane")
    divisor = functions_of(normal).where(norm == 0, 1.0, norm)
    unit = mapped(op, lambda _, leaf: leaf / divisor, {"a": normal}, promotes=False)
    of_x = trees.vdot(unit, wide)
    moved = mapped(
        op,
        lambda xp, *leaves: move(xp, *leaves, of_x, divisor),
        {"x": wide, "a": unit},
        beside=(of_x,),
        promotes=False,
    )
    return narrowed(op, moved, x)


def _see_shapes(op: str, x: PyTree, a: PyTree) -> None:
    rows, spec = columns({"x": x, "a": a})
    for at, (leaf, other) in enumerate(zip(*rows, strict=True)):
        if np.shape(leaf) != np.shape(other):
            path = leaf_path(spec, at, "a")
            raise LeafValueError(f"{path}: shape {np.shape(other)}, x has {np.shape(leaf)} ({op})")
