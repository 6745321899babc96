"""Leaves as matrices: which axes are rows and columns, and which leaves are matrices at all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gradmill._data.trees import flatten, leaf_path
from gradmill._plan.align import Difference, align, words
from gradmill.errors import LeafValueError, TreeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradmill._data.trees import Treespec
    from gradmill._data.types import PyTree

Axes: TypeAlias = "PyTree | Callable[[PyTree], PyTree] | None"


class MuonDimensionNumbers(NamedTuple):
    """Which axes of a parameter are the rows and which are the columns of a matrix.

    All other axes enumerate matrices, each of which is treated separately.

    Attributes:
        reduction_axis: The axis or axes that a layer sums over: the rows.
        output_axis: The axis or axes of its outputs: the columns.

    Example:
        >>> import gradmill as gm
        >>> gm.contrib.MuonDimensionNumbers((0, 1), 2)
        MuonDimensionNumbers(reduction_axis=(0, 1), output_axis=2)
    """

    reduction_axis: Sequence[int] | int = 0
    output_axis: Sequence[int] | int = 1


class Matrices(NamedTuple):
    """How a leaf is seen as a row of matrices."""

    order: tuple[int, ...]
    sizes: tuple[int, int, int]

    def of(self, xp: Any, leaf: Any) -> Any:
        return xp.reshape(xp.transpose(leaf, self.order), self.sizes)

    def back(self, xp: Any, matrices: Any, shape: tuple[int, ...]) -> Any:
        inside = xp.reshape(matrices, [shape[axis] for axis in self.order])
        return xp.transpose(inside, [self.order.index(axis) for axis in range(len(shape))])


def matrices_of(shape: tuple[int, ...], axes: Any) -> Matrices:
    """How a leaf of a shape is seen.

    Raises:
        ValueError: It cannot be. The message continues a leaf's path.
    """
    if axes is None:
        raise ValueError("has no MuonDimensionNumbers; leave it out with masked or partition")
    rank = len(shape)
    if rank < 2:
        raise ValueError(f"has {rank} axes, but a matrix has two; leave it out with masked")
    if rank == 2:
        axes = MuonDimensionNumbers()
    elif axes is _DEFAULT:
        raise ValueError(f"has {rank} axes; pass MuonDimensionNumbers to say which make a matrix")
    return seen_as(shape, axes)


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
        raise ValueError(f"lists an axis twice in {axes}")
    batch = tuple(axis for axis in range(rank) if axis not in (*rows, *columns))
    number, height, width = (
        math.prod(shape[axis] for axis in own) for own in (batch, rows, columns)
    )
    return Matrices((*batch, *rows, *columns), (number, height, width))


_DEFAULT = MuonDimensionNumbers()
"""Stands for what is not said."""


def are_axes(node: object) -> bool:
    """Whether a node says which axes make a matrix, be it of optax's class."""
    return hasattr(node, "reduction_axis")


def axes_of(axes: Axes, leaves: PyTree) -> tuple[list[Any], list[Any], Treespec]:
    """The leaves of a tree, what is said of the axes of each, and the structure."""
    found, spec = flatten(leaves)
    if axes is None:
        return found, [_DEFAULT] * len(found), spec
    given, own = flatten(axes(leaves) if callable(axes) else axes, are_axes)
    order = align(own, spec, holes=True, prefix=True)
    if isinstance(order, Difference):
        raise TreeError(words(order, "weight_dimension_numbers", "updates", given, found))
    return found, [None if at < 0 else given[at] for at in order.leaves], spec


def each_matrix(op: str, axes: Axes, updates: PyTree, function: Any) -> PyTree:
    """The tree of ``function(leaf, matrices)``.

    Raises:
        TreeError: ``axes`` has another structure.
        LeafValueError: A leaf holds no matrices.
    """
    leaves, own, spec = axes_of(axes, updates)
    made: list[Any] = []
    for at, (leaf, its) in enumerate(zip(leaves, own, strict=True)):
        if leaf is None:
            made.append(None)
            continue
        try:
            matrices = matrices_of(leaf.shape, its)
        except ValueError as error:
            raise LeafValueError(f"{leaf_path(spec, at, 'updates')}: {error} ({op})") from None
        made.append(function(leaf, matrices))
    return spec.unflatten(made)


def labels_of(name: str, axes: Axes, params: PyTree) -> PyTree:
    """Labels of matrices, ``name``, and of others: those have two axes, or it is said of them."""
    leaves, own, spec = axes_of(axes, params)
    labels: list[str | None] = []
    for leaf, its in zip(leaves, own, strict=True):
        is_matrix = np.ndim(leaf) == 2 if axes is None else its is not None
        labels.append(None if leaf is None else name if is_matrix else "adam")
    return spec.unflatten(labels)
