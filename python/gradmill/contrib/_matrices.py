"""Leaves seen as matrices: which of their axes are rows, and which are columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import optree

from gradmill._data.trees import NAMESPACE, flatten
from gradmill._plan.align import Difference, align, words
from gradmill.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.trees import Treespec
    from gradmill._data.types import PyTree

Axes: TypeAlias = "PyTree | Callable[[PyTree], PyTree] | None"
"""What is said of axes: dimension numbers for each leaf, or a function that returns them."""


class Matrices(NamedTuple):
    """How a leaf is seen as a row of matrices.

    Attributes:
        order: Its axes: those that count matrices, those of the rows, those of the columns.
        sizes: The number of matrices, of rows and of columns.
    """

    order: tuple[int, ...]
    sizes: tuple[int, int, int]

    def of(self, xp: Any, leaf: Any) -> Any:
        """A leaf as an array of matrices."""
        return xp.reshape(xp.transpose(leaf, self.order), self.sizes)

    def back(self, xp: Any, matrices: Any, shape: tuple[int, ...]) -> Any:
        """The leaf of a shape that matrices make up."""
        inside = xp.reshape(matrices, [shape[axis] for axis in self.order])
        return xp.transpose(inside, [self.order.index(axis) for axis in range(len(shape))])


def seen_as(shape: tuple[int, ...], axes: Any) -> Matrices:
    """How a leaf of a shape is seen with dimension numbers.

    Raises:
        ValueError: An axis is twice among them. The message continues a leaf's path.
    """
    rank = len(shape)
    rows, columns = (
        tuple(axis % rank for axis in ((own,) if isinstance(own, int) else own)) for own in axes
    )
    if len({*rows, *columns}) < len(rows) + len(columns):
        raise ValueError(f"has an axis twice in {axes}")
    batch = tuple(axis for axis in range(rank) if axis not in (*rows, *columns))
    number, height, width = (
        math.prod(shape[axis] for axis in own) for own in (batch, rows, columns)
    )
    return Matrices((*batch, *rows, *columns), (number, height, width))


def are_axes(node: object) -> bool:
    """Whether a node says which axes make a matrix, be it of optax's class."""
    return hasattr(node, "reduction_axis")


def axes_of(axes: Axes, leaves: PyTree, default: Any) -> tuple[list[Any], list[Any], Treespec]:
    """The leaves of a tree, what is said of the axes of each, and the structure.

    Where nothing is said of any, it is ``default``; where nothing is said of one, None.

    Raises:
        TreeError: ``axes`` has another structure.
    """
    found, spec = flatten(leaves)
    if axes is None:
        return found, [default] * len(found), spec
    given, own = optree.tree_flatten(
        axes(leaves) if callable(axes) else axes,
        is_leaf=are_axes,
        none_is_leaf=True,
        namespace=NAMESPACE,
    )
    order = align(own, spec, holes=True, prefix=True)
    if isinstance(order, Difference):
        raise TreeError(words(order, "weight_dimension_numbers", "updates", given, found))
    return found, [None if at < 0 else given[at] for at in order.leaves], spec
