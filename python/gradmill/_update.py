"""What one does with updates: add them to parameters, or measure them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill import _core, errors
from gradmill._threads import scoped
from gradmill._tree import Flattener, Treespec, flatten, flatten_like, leaf_path

if TYPE_CHECKING:
    from gradmill._base import PyTree


_flatten_params = Flattener()


def leaf_error(fault: _core.CoreError, treespec: Treespec) -> errors.GradmillError:
    """The error for what the core reports of one tree's leaf."""
    return errors.from_fault(fault, lambda place: leaf_path(treespec, place[2], place[0]))


def apply_updates(params: PyTree, updates: PyTree) -> PyTree:
    """Add updates to parameters.

    The sum is formed in the wider dtype of the two and rounded to the parameter's.

    Args:
        params: A tree of float32 or float64 arrays of any shape.
        updates: A tree of the same structure and shapes. None leaves its parameter as it is.

    Returns:
        New parameters; the arguments are not written to.

    Raises:
        TreeError: The structures differ.
        LeafValueError: Shapes differ.
        LeafTypeError: A leaf is no array of floats.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.apply_updates({"w": np.ones(2)}, {"w": np.array([-0.5, 0.5])})
        {'w': array([0.5, 1.5])}
    """
    leaves, treespec = _flatten_params(params)
    steps = flatten_like(treespec, updates, "updates", "params")
    try:
        return treespec.unflatten(_core.apply_updates(leaves, steps, scoped.get()))
    except _core.CoreError as fault:
        raise leaf_error(fault, treespec) from None


def global_norm(updates: PyTree) -> float:
    r"""The Euclidean norm of all leaves together.

    .. math:: \sqrt{\sum_i u_i^2}

    Squares are accumulated in float64 and rescaled if need be, so the result overflows only where
    the norm itself does; it is the same on any number of threads.

    Args:
        updates: A tree of float32 or float64 arrays of any shape.

    Returns:
        The norm; NaN or infinity where the updates have such elements.

    Raises:
        LeafTypeError: A leaf is no array of floats.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.global_norm({"a": np.array([3.0]), "b": np.array([4.0])})
        5.0
        >>> gm.global_norm(np.full(4, 1e200))
        2e+200
    """
    leaves, treespec = flatten(updates)
    try:
        return _core.global_norm(leaves, scoped.get())
    except _core.CoreError as fault:
        raise leaf_error(fault, treespec) from None
