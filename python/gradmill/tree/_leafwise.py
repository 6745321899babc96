"""Leafwise functions of trees, matched by key, for arrays of any library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradmill._core import in_default_mode
from gradmill._data.arrays import as_array
from gradmill._data.numbers import is_foreign, is_of_tracing
from gradmill._data.trees import Structure, Treespec, flatten, leaf_path
from gradmill._plan.align import kind_of, with_article
from gradmill._plan.match import match
from gradmill.errors import GradmillError, LeafTypeError, LeafValueError, TreeError
from gradmill.tree._dtypes import computing, is_number, is_numeric, meeting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gradmill._data.types import PyTree

Function: TypeAlias = "Callable[..., Any]"


def library(values: Iterable[Any]) -> Any:
    """The functions over arrays such as these: those of the first that is not NumPy's, or NumPy."""
    return next((value.__array_namespace__() for value in values if is_foreign(value)), np)


def columns(
    trees: Mapping[str, PyTree], *, skips_none: bool = False
) -> tuple[list[list[Any]], Treespec]:
    """The leaves of each tree in the order of the first one, and the structure of that.

    Args:
        trees: The trees by their names.
        skips_none: Whether anything may stand in the place of None in the first one.

    Raises:
        TreeError: The structures differ, or one has None for an array of another.
    """
    (first, tree), *others = trees.items()
    leaves, spec = flatten(tree)
    like = Structure(spec)
    rest = [match(other, like, name, first, leaves=leaves).leaves for name, other in others]
    for (name, _), row in zip(others, rest, strict=True):
        for at, (leaf, other) in enumerate(zip(leaves, row, strict=True)):
            if (leaf is None) != (other is None) and not (skips_none and leaf is None):
                path = leaf_path(spec, at, name)
                raise TreeError(f"{path}: {kind_of(other)}, {first} has {kind_of(leaf)}")
    return [leaves, *rest], spec


def mapped(
    op: str,
    function: Function,
    trees: Mapping[str, PyTree],
    numbers: Sequence[Any] = (),
    *,
    beside: Sequence[Any] = (),
    promotes: bool = True,
    skips_none: bool = False,
) -> PyTree:
    """The tree of ``function(xp, *leaves, *numbers)``; see :func:`results`."""
    found, spec = results(
        op, function, trees, numbers, beside=beside, promotes=promotes, skips_none=skips_none
    )
    return spec.unflatten(found)


def results(
    op: str,
    function: Function,
    trees: Mapping[str, PyTree],
    numbers: Sequence[Any] = (),
    *,
    beside: Sequence[Any] = (),
    promotes: bool = True,
    skips_none: bool = False,
) -> tuple[list[Any], Treespec]:
    """What ``function(xp, *leaves, *numbers)`` makes of leaves that belong together.

    Of NumPy, arrays are new ones in C order. Half precision is computed in float32.

    Args:
        op: What errors call it.
        function: Of a library and arrays of it.
        trees: The trees by their names; the first one has the structure of the result.
        numbers: What each leaf meets, of the same rules for dtypes as the leaves.
        beside: What else the function computes with, which has a say in the library alone.
        promotes: Whether to bring all to one dtype.
        skips_none: Whether None in the first tree skips what others have in its place.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: The function does not accept a leaf.
        LeafValueError: Shapes do not fit.
    """
    rows, spec = columns(trees, skips_none=skips_none)
    names = tuple(trees)
    apply = _promoted if promotes else _as_they_are

    def one(at: int, row: Sequence[Any]) -> Any:
        leaves = [taken(leaf, op, name, spec, at) for name, leaf in zip(names, row, strict=True)]
        xp = library((*leaves, *numbers, *beside))
        try:
            values = (*leaves, *numbers)
            return function(xp, *values) if xp is not np else apply(function, values)
        except (TypeError, ValueError) as error:
            if is_of_tracing(error):
                raise
            raise _fault(error, op, names, spec, at, leaves) from error

    def each() -> list[Any]:
        # In the first tree, None is where there is nothing to do.
        pairs = enumerate(zip(*rows, strict=True))
        return [None if row[0] is None else one(at, row) for at, row in pairs]

    return quietly(each), spec


def _as_they_are(function: Function, values: Iterable[Any]) -> np.ndarray[Any, Any]:
    """The result for arrays and numbers of NumPy, each in its own dtype."""
    arrays = [np.asarray(value) for value in values]
    return fresh(function(np, *arrays), arrays)


def _promoted(function: Function, values: Iterable[Any]) -> np.ndarray[Any, Any]:
    """The result for arrays and numbers of NumPy, in the dtype in which they meet."""
    arrays = [value if is_number(value) else np.asarray(value) for value in values]
    dtypes = tuple([array.dtype for array in arrays if not is_number(array)])
    dtype = meeting(dtypes, tuple([type(array) for array in arrays if is_number(array)]))
    wide = computing(dtype)
    given = [np.asarray(array, wide) for array in arrays]
    result = np.asarray(function(np, *given))
    if wide != dtype and result.dtype == wide:
        return result.astype(dtype, order="C")
    return fresh(result, (*arrays, *given))


def taken(leaf: Any, op: str, name: str, spec: Treespec, at: int) -> Any:
    """A leaf as a NumPy array; a number, and an array of another library, as it is.

    Raises:
        LeafTypeError: It is not one of these.
    """
    if is_number(leaf) or is_foreign(leaf):
        return leaf
    try:
        array = as_array(leaf)
        if isinstance(leaf, (list, tuple)) or not is_numeric(array.dtype):
            has_dtype = hasattr(leaf, "dtype")
            what = (
                f"has dtype {array.dtype}"
                if has_dtype
                else f"is {with_article(type(leaf).__name__)}"
            )
            raise TypeError(f"{what}, not an array of numbers")
    except TypeError as error:
        first = str(error).partition("\n")[0]
        raise LeafTypeError(f"{leaf_path(spec, at, name)}: {first:.200} ({op})") from error
    return array


def quietly(function: Any, *args: Any) -> Any:
    """What a function returns, in the default floating-point mode and without NumPy's warnings."""
    with np.errstate(all="ignore"):
        return in_default_mode(function, *args)


def fresh(result: Any, operands: Iterable[Any]) -> np.ndarray[Any, Any]:
    """``result`` as an array in C order that shares no memory with an operand."""
    array = np.asarray(result)
    if array.base is not None or any(array is operand for operand in operands):
        return np.array(array, order="C")
    return np.asarray(array, order="C")


def _fault(
    error: Exception, op: str, names: Sequence[str], spec: Treespec, at: int, row: Sequence[Any]
) -> GradmillError:
    """The error that names the leaf at which ``error`` was raised."""
    shapes = [np.shape(leaf) for leaf in row]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        other = next(i for i, shape in enumerate(shapes) if shape != shapes[0])
        path = leaf_path(spec, at, names[other])
        return LeafValueError(f"{path}: shape {shapes[other]}, {names[0]} has {shapes[0]} ({op})")
    kind = LeafTypeError if isinstance(error, TypeError) else LeafValueError
    first = str(error).partition("\n")[0]
    return kind(f"{leaf_path(spec, at, names[0])}: {first:.200} ({op})")
