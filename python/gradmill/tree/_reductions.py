"""Reductions of trees to a number."""

from __future__ import annotations

import builtins
import math
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradmill import _core
from gradmill._data.arrays import as_native, is_float, is_half
from gradmill._data.threads import scoped
from gradmill._data.trees import flatten, leaf_path
from gradmill.errors import LeafValueError
from gradmill.tree._dtypes import common, is_exact, real_of
from gradmill.tree._leafwise import columns, library, quietly, results, taken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradmill._data.trees import Treespec
    from gradmill._data.types import PyTree


_NONE = np.dtype(np.float64)
"""The dtype of no leaves."""


class _Leaves(NamedTuple):
    """The leaves of a tree as arrays of one library, without None.

    Attributes:
        xp: Its functions.
        arrays: The leaves.
        dtype: That in which they meet.
    """

    xp: Any
    arrays: list[Any]
    dtype: np.dtype[Any]

    def wide(self) -> list[Any]:
        """The leaves, to compute with: of NumPy in 64 bits, of others in 32 at least."""
        if self.xp is not np:
            single = self.xp.float32
            return [a.astype(single) if is_half(a.dtype) else a for a in self.arrays]
        # NumPy adds in the order in which elements lie, so they are to lie in one and the same.
        wide = [_wide(array.dtype, self.is_exact) for array in self.arrays]
        return [
            a.astype(to, order="C", copy=False) for a, to in zip(self.arrays, wide, strict=True)
        ]

    @property
    def is_exact(self) -> bool:
        """Whether all are of integers or bools."""
        return is_exact(self.dtype)

    def narrow(self, number: Any) -> Any:
        """A result in the dtype of the leaves, or of their parts; beside integers in its own.

        Of NumPy it is a scalar.
        """
        is_complex = number.dtype.kind == "c"
        dtype = self.dtype if is_complex else real_of(self.dtype)
        dtype = number.dtype if self.is_exact else dtype
        if self.xp is not np:
            return self.xp.asarray(number, dtype=dtype)
        return np.asarray(number).astype(dtype)[()]


def _wide(dtype: np.dtype[Any], is_whole: bool) -> np.dtype[Any]:
    """The dtype in which numbers of ``dtype`` are added up, among integers if ``is_whole``."""
    if is_whole:
        return np.dtype(np.uint64 if dtype.kind == "u" else np.int64)
    return np.dtype(np.complex128 if dtype.kind == "c" else np.float64)


def _leaves_of(op: str, tree: PyTree) -> _Leaves:
    """The leaves of a tree.

    Raises:
        LeafTypeError: One is not an array of numbers.
    """
    leaves, spec = flatten(tree)
    return _as_arrays(op, {"tree": leaves}, spec)


def _as_arrays(op: str, rows: Mapping[str, list[Any]], spec: Treespec) -> _Leaves:
    """The leaves of trees of one structure; errors call the trees by the names in ``rows``."""
    xp = library(leaf for leaves in rows.values() for leaf in leaves)
    arrays: list[Any] = [
        xp.asarray(taken(leaf, op, name, spec, at))
        for name, leaves in rows.items()
        for at, leaf in enumerate(leaves)
        if leaf is not None
    ]
    return _Leaves(xp, arrays, common(a.dtype for a in arrays) if arrays else _NONE)


def size(tree: PyTree) -> int:
    """The number of elements.

    Args:
        tree: A tree of arrays.

    Returns:
        The number of elements in all leaves; a number counts as one.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.size({"w": np.zeros((2, 3)), "b": 1.0, "none": None})
        7
    """
    return builtins.sum(math.prod(np.shape(leaf)) for leaf in flatten(tree)[0] if leaf is not None)


def sum(tree: PyTree, associative_reduction: bool = False) -> Any:  # noqa: A001, ARG001
    """The sum of all elements.

    For NumPy arrays, floats are summed in float64 and rounded once.

    Args:
        tree: A tree of arrays.
        associative_reduction: Accepted for compatibility with optax, and ignored.

    Returns:
        A number in the common dtype of the leaves: a NumPy scalar, or a 0-d array of the leaves'
        library. Integers are summed as in ``numpy.sum``. 0 for a tree without leaves.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> float(gm.tree.sum({"w": np.ones((2, 3)), "b": np.array([0.5])}))
        6.5
    """
    leaves = _leaves_of("sum", tree)
    return quietly(_sum, leaves) if leaves.arrays else 0


def _sum(leaves: _Leaves) -> Any:
    total = builtins.sum(leaves.xp.sum(part) for part in leaves.wide())
    return total if is_exact(total.dtype) else leaves.narrow(total)


def max(tree: PyTree) -> Any:  # noqa: A001
    """The largest element.

    Args:
        tree: A tree of arrays. Empty ones are ignored.

    Returns:
        A number in the common dtype of the leaves (float64 for NumPy integers): a NumPy scalar, or
        a 0-d array of the leaves' library. NaN if any element is NaN; -inf without elements.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> float(gm.tree.max({"w": np.array([1.0, 5.0]), "b": -2.0}))
        5.0
    """
    return quietly(_extreme, _leaves_of("max", tree), "max", "maximum", -math.inf)


def min(tree: PyTree) -> Any:  # noqa: A001
    """The smallest element.

    Args:
        tree: A tree of arrays. Empty ones are ignored.

    Returns:
        A number in the common dtype of the leaves (float64 for NumPy integers): a NumPy scalar, or
        a 0-d array of the leaves' library. NaN if any element is NaN; inf without elements.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> float(gm.tree.min({"w": np.array([1.0, 5.0]), "b": -2.0}))
        -2.0
    """
    return quietly(_extreme, _leaves_of("min", tree), "min", "minimum", math.inf)


def _extreme(leaves: _Leaves, of_one: str, of_two: str, start: float) -> Any:
    xp = leaves.xp
    parts = [xp.asarray(getattr(xp, of_one)(array)) for array in leaves.arrays if array.size]
    if not parts:
        return start
    wide = leaves._replace(arrays=parts).wide()
    found = reduce(getattr(xp, of_two), wide, start)
    return leaves.narrow(found)


_EUCLIDEAN = (None, 2)
_LARGEST = ("inf", "infinity", math.inf)


def norm(tree: PyTree, ord: float | str | None = None, squared: bool = False) -> Any:  # noqa: A002
    r"""The norm over all leaves.

    .. math:: \sqrt{\sum_i |x_i|^2}, \qquad \sum_i |x_i| \qquad \text{or} \qquad \max_i |x_i|

    For NumPy arrays, squares are summed in float64 and rescaled if need be, as in
    :func:`gradmill.global_norm`, so the result overflows only if the norm itself does. Inside a JAX
    program they are summed in float32 or wider, without rescaling.

    Args:
        tree: A tree of arrays.
        ord: 2 or None for the first of these norms, 1 for the second, ``inf`` for the third.
        squared: Whether to return the norm's square.

    Returns:
        A number in the dtype that leaves have in common, or that of its parts where that is
        complex; integers have sums of squares and of absolute values in 64 bits, and other
        norms in float64. A scalar of NumPy, or a 0-d array of the library of the leaves.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
        ValueError: ``ord`` is unknown.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tree = {"a": np.array([3.0]), "b": np.array([-4.0])}
        >>> float(gm.tree.norm(tree)), float(gm.tree.norm(tree, ord=1))
        (5.0, 7.0)
    """
    if ord not in (*_EUCLIDEAN, 1, *_LARGEST):
        raise ValueError(f"ord must be 1, 2, inf or None, got {ord!r}")
    leaves = _leaves_of("norm", tree)
    if ord in _EUCLIDEAN:
        return quietly(_euclidean, leaves, squared)
    return quietly(_of_sizes, leaves, ord == 1, squared)


def _euclidean(leaves: _Leaves, squared: bool) -> Any:
    xp = leaves.xp
    if xp is np and not squared:
        parts = [part for array in leaves.arrays for part in _floats(array)]
        return leaves.narrow(np.float64(_core.global_norm(parts, scoped.get())))
    squares = xp.asarray(builtins.sum(xp.sum(_square(xp, part)) for part in leaves.wide()))
    return leaves.narrow(squares if squared else xp.sqrt(squares))


def _floats(array: Any) -> list[Any]:
    """An array as one or two that the core takes."""
    if array.dtype.kind == "c":
        return [*_floats(array.real), *_floats(array.imag)]
    is_taken = is_float(array.dtype.newbyteorder("="))
    return [as_native(array) if is_taken else array.astype(np.float64)]


def _square(xp: Any, array: Any) -> Any:
    if not xp.iscomplexobj(array):
        return array * array
    re, im = xp.real(array), xp.imag(array)
    return re * re + im * im


def _of_sizes(leaves: _Leaves, adds: bool, squared: bool) -> Any:
    """The sum of absolute values, or the largest one."""
    xp = leaves.xp
    sizes = [xp.abs(part) for part in leaves.wide()]
    if adds:
        found = xp.asarray(builtins.sum(xp.sum(part) for part in sizes))
    else:
        largest = [xp.max(part) for part in sizes if part.size]
        found = reduce(xp.maximum, largest, xp.asarray(0.0))
    return leaves.narrow(found * found if squared else found)


def vdot(tree_x: PyTree, tree_y: PyTree) -> Any:
    r"""The inner product of two trees.

    .. math:: \sum_i \bar x_i \, y_i

    For NumPy arrays, products are summed in float64 and rounded once.

    Args:
        tree_x: A tree of arrays; complex ones are conjugated.
        tree_y: A tree of the same structure, with as many elements in each leaf.

    Returns:
        A number in the common dtype of the leaves: a NumPy scalar, or a 0-d array of the leaves'
        library. 0 for trees without leaves.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Two leaves differ in size.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> float(gm.tree.vdot([np.array([1.0, 2.0])], [np.array([3.0, 4.0])]))
        11.0
    """
    rows, spec = columns({"tree_x": tree_x, "tree_y": tree_y})
    for at, (x, y) in enumerate(zip(*rows, strict=True)):
        if math.prod(np.shape(x)) != math.prod(np.shape(y)):
            path = leaf_path(spec, at, "tree_y")
            raise LeafValueError(f"{path}: shape {np.shape(y)}, tree_x has {np.shape(x)} (vdot)")
    both = _as_arrays("vdot", dict(zip(("tree_x", "tree_y"), rows, strict=True)), spec)
    return quietly(_products, both) if both.arrays else 0


def _products(both: _Leaves) -> Any:
    xp, wide = both.xp, both.wide()
    half = len(wide) // 2
    pairs = zip(wide[:half], wide[half:], strict=True)
    total = builtins.sum(
        xp.sum((xp.conj(x) if xp.iscomplexobj(x) else x).ravel() * y.ravel()) for x, y in pairs
    )
    return xp.asarray(total, dtype=both.dtype)[()] if both.is_exact else both.narrow(total)


def allclose(
    a: PyTree, b: PyTree, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether all elements of two trees are nearly equal: ``|a - b| <= atol + rtol * |b|``.

    Args:
        a: A tree of arrays.
        b: A tree of the same structure; leaves broadcast.
        rtol: The relative tolerance.
        atol: The absolute tolerance.
        equal_nan: Whether NaNs count as equal.

    Returns:
        A bool, or a 0-d bool array of the leaves' library.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.allclose([np.ones(2)], [np.full(2, 1 + 1e-9)])
        True
    """

    def near(xp: Any, x: Any, y: Any) -> Any:
        return xp.all(xp.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan))

    found = [one for one in results("allclose", near, {"a": a, "b": b})[0] if one is not None]
    xp = library(found)
    return builtins.all(found) if xp is np else reduce(xp.logical_and, found)
