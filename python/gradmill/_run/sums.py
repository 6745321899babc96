"""Weighted sums of trees, with one read of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill import _core
from gradmill._data.arrays import as_native, is_half
from gradmill._data.checks import real
from gradmill._data.threads import scoped
from gradmill._data.trees import flatten, leaf_path
from gradmill._plan.match import flatten_like
from gradmill.errors import LeafTypeError, LeafValueError, from_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.trees import Treespec
    from gradmill._data.types import PyTree
    from gradmill.errors import Place

Array = Any


def weighted_sum(trees: Sequence[PyTree], weights: Sequence[float], out: PyTree = None) -> PyTree:
    r"""Add up trees of arrays, each multiplied by a weight.

    .. math:: \sum_k w_k \theta_k

    For averages of models trained by many: each array is read once, nothing of its size is
    allocated, and the sum is formed in float64 and rounded once. The result is the same on any
    number of threads.

    Args:
        trees: Trees of float arrays of 16, 32 or 64 bits, all of the same structure and
            shapes; mappings of any kind match by key. None stays None.
        weights: One number for each tree, used as it is: for an average they have to add up to 1.
        out: Arrays to write the sum to, a tree like the others, possibly of other dtypes. They must
            not share memory with ``trees``. None for new arrays.

    Returns:
        ``out``, or new arrays; a leaf has the widest dtype among its arrays.

    Raises:
        ValueError: There are no trees, the numbers of trees and weights differ, or a weight is NaN.
        TypeError: A weight is not a real number.
        TreeError: The structures differ.
        LeafValueError: Shapes differ; or an array of ``out`` is read-only or shares memory with
            another one. Nothing is written then.
        LeafTypeError: A leaf is not an array of floats.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> clients = [{"w": np.array([1.0, 2.0])}, {"w": np.array([3.0, 6.0])}]
        >>> gm.weighted_sum(clients, [0.75, 0.25])
        {'w': array([1.5, 3. ])}

    References:
        McMahan et al., `Communication-Efficient Learning of Deep Networks from Decentralized Data
        <https://arxiv.org/abs/1602.05629>`_, 2017.
    """
    if len(trees) != len(weights) or not len(trees):
        raise ValueError(f"expected a weight for each tree, got {len(weights)} for {len(trees)}")
    numbers = [float(real(f"weights[{at}]", weight)) for at, weight in enumerate(weights)]
    first, spec = flatten(trees[0])
    terms = [first]
    for at, tree in enumerate(trees[1:], 1):
        terms.append(flatten_like(spec, tree, f"trees[{at}]", "trees[0]"))
    if out is None:
        sums = [_like(leaves, spec, at) for at, leaves in enumerate(zip(*terms, strict=True))]
    else:
        sums = flatten_like(spec, out, "out", "trees[0]")
    sum_into(spec, sums, terms, numbers, [f"trees[{at}]" for at in range(len(trees))])
    return spec.unflatten(sums) if out is None else out


def _like(leaves: Sequence[Any], spec: Treespec, at: int) -> Array | None:
    """Room for the sum of these leaves."""
    if leaves[0] is None:
        return None
    arrays = []
    for number, leaf in enumerate(leaves):
        try:
            arrays.append(as_native(leaf))
        except TypeError as error:
            raise LeafTypeError(f"{leaf_path(spec, at, f'trees[{number}]')}: {error}") from None
    return np.empty_like(arrays[0], dtype=wider(*{array.dtype for array in arrays}), subok=False)


def wider(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of floats that holds all of these; of two different ones it is no half."""
    return (
        dtypes[0]
        if len(dtypes) == 1
        else np.result_type(np.float32, *(one for one in dtypes if not is_half(one)))
    )


def sum_into(
    spec: Treespec,
    sums: Sequence[Array | None],
    terms: Sequence[Sequence[Any]],
    weights: Sequence[float],
    names: Sequence[str],
    own: float | None = None,
) -> None:
    """Write to each array the sum of those at its place in ``terms``.

    Args:
        spec: The structure of all.
        sums: The arrays.
        terms: Lists of arrays, or of None where ``sums`` has that.
        weights: What each list is multiplied by.
        names: What it is called.
        own: What the arrays themselves are multiplied by before; None if they are overwritten.

    Raises:
        LeafValueError: A shape differs, or an array cannot be written to.
        LeafTypeError: A leaf is not an array of floats, or None on one side alone.
    """
    places = [at for at, array in enumerate(sums) if array is not None]
    for at, array in enumerate(sums):
        for leaves, name in zip(terms, names, strict=True):
            path = leaf_path(spec, at, name)
            if (leaves[at] is None) != (array is None):
                raise LeafTypeError(f"{path}: None in one tree, an array in another")
            if array is not None and np.shape(leaves[at]) != np.shape(array):
                shapes = f"shape {np.shape(leaves[at])}, the sum has {np.shape(array)}"
                raise LeafValueError(f"{path}: {shapes}")

    def path_of(place: Place) -> str:
        _, number, leaf = place
        return leaf_path(spec, places[leaf], "out" if number is None else names[number])

    given = [[leaves[at] for at in places] for leaves in terms]
    own_arrays = [sums[at] for at in places]
    try:
        _core.weighted_sum(own_arrays, given, list(weights), own, scoped.get())
    except _core.CoreError as fault:
        raise from_fault(fault, path_of) from None
