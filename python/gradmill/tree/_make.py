"""Trees made after the shapes and dtypes of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.numbers import library_of
from gradmill._data.trees import flatten, leaf_path
from gradmill.errors import LeafTypeError, LeafValueError
from gradmill.tree._dtypes import common
from gradmill.tree._leafwise import columns, mapped

if TYPE_CHECKING:
    from gradmill._data.types import PyTree


def zeros_like(tree: PyTree, dtype: Any = None) -> PyTree:
    """A tree of zeros.

    Args:
        tree: A tree of arrays, which gives the shapes.
        dtype: The dtype of all leaves; None to keep the dtype of each.

    Returns:
        A tree of new arrays.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.zeros_like({"w": np.ones(2), "b": None})
        {'w': array([0., 0.]), 'b': None}
    """
    return full_like(tree, 0, dtype)


def ones_like(tree: PyTree, dtype: Any = None) -> PyTree:
    """A tree of ones.

    Args:
        tree: A tree of arrays, which gives the shapes.
        dtype: The dtype of all leaves; None to keep the dtype of each.

    Returns:
        A tree of new arrays.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.ones_like([np.zeros(2)], dtype=np.float32)
        [array([1., 1.], dtype=float32)]
    """
    return full_like(tree, 1, dtype)


def full_like(tree: PyTree, fill_value: Any, dtype: Any = None) -> PyTree:
    """A tree of arrays filled with one value.

    Args:
        tree: A tree of arrays, which gives the shapes.
        fill_value: The value, converted to the dtype of each leaf. An array has to broadcast.
        dtype: The dtype of all leaves; None to keep the dtype of each.

    Returns:
        A tree of new arrays.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: An array of values does not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.full_like({"w": np.zeros(2)}, 0.5)
        {'w': array([0.5, 0.5])}
    """

    def filled(xp: Any, leaf: Any) -> Any:
        if xp is not np:
            return xp.full_like(leaf, fill_value, dtype=dtype)
        own = leaf.dtype if dtype is None else dtype
        # Zeros are pages that the system hands out when they are touched.
        is_zero = type(fill_value) is int and fill_value == 0
        return np.zeros(leaf.shape, own) if is_zero else np.full(leaf.shape, fill_value, own)

    return mapped("full_like", filled, {"tree": tree}, beside=(fill_value,), promotes=False)


def batch_shape(tree: PyTree, shape: tuple[int, ...] = ()) -> PyTree:
    """Repeat all leaves along new leading axes.

    Args:
        tree: A tree of arrays.
        shape: The lengths of the new axes.

    Returns:
        A tree of new arrays, each of shape ``shape + leaf.shape``.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.batch_shape([np.array([1.0, 2.0])], (2,))
        [array([[1., 2.], [1., 2.]])]
    """
    spread = lambda xp, x: xp.broadcast_to(x, (*shape, *xp.shape(x)))
    return mapped("batch_shape", spread, {"tree": tree}, promotes=False)


def cast(tree: PyTree, dtype: Any) -> PyTree:
    """Convert all leaves to a dtype.

    Args:
        tree: A tree of arrays.
        dtype: The dtype; None returns the tree as it is.

    Returns:
        A tree of new arrays. Complex numbers cast to a real dtype keep their real parts.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.cast({"w": np.ones(2), "n": 3}, np.float32)
        {'w': array([1., 1.], dtype=float32), 'n': array(3., dtype=float32)}
    """
    if dtype is None:
        return tree
    return mapped("cast", lambda xp, x: _as(xp, x, dtype), {"tree": tree}, promotes=False)


def cast_like(tree: PyTree, other_tree: PyTree) -> PyTree:
    """Convert each leaf to the dtype of another tree's.

    Args:
        tree: A tree of arrays.
        other_tree: A tree of the same structure. Where it has a leaf without a dtype, such as a
            Python number, nothing is converted.

    Returns:
        A tree of new arrays.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.cast_like([np.ones(2)], [np.zeros(5, np.float32)])
        [array([1., 1.], dtype=float32)]
    """
    (leaves, others), spec = columns({"tree": tree, "other_tree": other_tree})
    pairs = zip(leaves, others, strict=True)
    dtypes = iter([getattr(other, "dtype", None) for leaf, other in pairs if leaf is not None])
    convert = lambda xp, x: _as(xp, x, next(dtypes))
    return mapped("cast_like", convert, {"tree": spec.unflatten(leaves)}, promotes=False)


def _as(xp: Any, leaf: Any, dtype: Any) -> Any:
    array = xp.asarray(leaf)
    if dtype is None:
        return array
    if xp.iscomplexobj(array) and np.dtype(dtype).kind not in "cb":
        array = xp.real(array)
    return array.astype(dtype)


_HANDLERS = (None, "promote", "highest", "lowest")


def dtype(tree: PyTree, mixed_dtype_handler: str | None = None) -> np.dtype[Any]:
    """The common dtype of all leaves.

    Args:
        tree: A tree of arrays; Python numbers count as float64 and int64.
        mixed_dtype_handler: What to do if dtypes differ: ``"promote"`` for the dtype that all
            leaves promote to; ``"highest"`` and ``"lowest"`` for the one among them that all others
            promote to, or that promotes to all others; None to raise an error.

    Returns:
        The dtype; float32 for a tree without leaves.

    Raises:
        LeafTypeError: A leaf is not an array.
        LeafValueError: Dtypes differ, or none of them suits ``mixed_dtype_handler``.
        ValueError: ``mixed_dtype_handler`` is unknown.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.dtype([np.ones(2, np.float16), np.ones(2, np.float32)], "lowest")
        dtype('float16')
    """
    if mixed_dtype_handler not in _HANDLERS:
        shown = ", ".join(map(repr, _HANDLERS))
        raise ValueError(f"mixed_dtype_handler must be one of {shown}; got {mixed_dtype_handler!r}")
    leaves, spec = flatten(tree)
    found: np.dtype[Any] | None = None
    for at, leaf in enumerate(leaves):
        if leaf is None:
            continue
        own = _dtype_of(leaf)
        if own is None:
            path = leaf_path(spec, at, "tree")
            raise LeafTypeError(f"{path}: is a {type(leaf).__name__}, not an array (dtype)")
        if found is None or own == found:
            found = own
            continue
        both = common((own, found))
        is_ordered = mixed_dtype_handler is not None and both in (own, found)
        if mixed_dtype_handler == "promote" or (mixed_dtype_handler == "highest" and is_ordered):
            found = both
        elif is_ordered:
            found = own if both == found else found
        else:
            path = leaf_path(spec, at, "tree")
            raise LeafValueError(f"{path}: dtype {own}, leaves before it have {found} (dtype)")
    return np.dtype(np.float32) if found is None else found


def _dtype_of(leaf: Any) -> np.dtype[Any] | None:
    own = getattr(leaf, "dtype", None)
    if own is None and isinstance(leaf, (bool, int, float, complex)):
        own = library_of(leaf).asarray(leaf).dtype
    return own
