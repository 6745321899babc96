"""Trees widened for computing, and narrowed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.arrays import is_half
from gradmill._data.checks import is_real
from gradmill._data.trees import flatten, tree_map
from gradmill.tree import norm, where
from gradmill.tree._dtypes import is_exact
from gradmill.tree._leafwise import library, mapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree


def widened(op: str, name: str, tree: PyTree) -> PyTree:
    """The tree in float64 or complex128; of JAX, in float32 at least.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
    """
    return mapped(op, _wide, {name: tree}, promotes=False)


def _wide(xp: Any, leaf: Any) -> Any:
    array = xp.asarray(leaf)
    if xp is np:
        return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    is_narrow = is_half(array.dtype) or is_exact(array.dtype)
    return array.astype(xp.promote_types(array.dtype, xp.float32)) if is_narrow else array


def narrowed(op: str, wide: PyTree, tree: PyTree) -> PyTree:
    """The tree ``wide`` in the dtypes of ``tree``; integers become floats as in division."""
    return mapped(op, _narrow, {"tree": wide, "like": tree}, promotes=False)


def _narrow(xp: Any, wide: Any, leaf: Any) -> Any:
    dtype = xp.asarray(leaf).dtype
    if not is_exact(dtype):
        return wide.astype(dtype)
    return wide.astype(np.float32) if xp is np and dtype.itemsize < 8 else wide


def spread(bound: Any, tree: PyTree) -> PyTree:
    """One number for all leaves as a tree of the structure; a tree stays as it is."""
    return tree_map(lambda _: bound, tree) if is_real(bound) else bound


def chosen(condition: Any, first: Callable[[], PyTree], second: Callable[[], PyTree]) -> PyTree:
    """What the first function returns if the condition holds, or else the second.

    Inside a JAX program, both are computed.
    """
    if library([condition]) is np:
        return first() if condition else second()
    return where(condition, first(), second())


def functions_of(*trees: PyTree) -> Any:
    """The library of the arrays in the trees."""
    return library(leaf for tree in trees for leaf in flatten(tree)[0])


def length(tree: PyTree) -> Any:
    """The Euclidean norm, which has a derivative in JAX programs also where it is 0."""
    xp = functions_of(tree)
    if xp is np:
        return norm(tree)
    square = norm(tree, squared=True)
    return xp.where(square == 0, 0.0, xp.sqrt(xp.where(square == 0, 1.0, square)))
