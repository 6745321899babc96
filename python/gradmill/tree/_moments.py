"""Moving averages of trees, as optimizers keep them."""

from __future__ import annotations

import operator
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill import _core
from gradmill._data.numbers import is_foreign
from gradmill.tree._dtypes import is_exact
from gradmill.tree._leafwise import mapped

if TYPE_CHECKING:
    from gradmill._data.types import PyTree


def update_moment(updates: PyTree, moments: PyTree, decay: Any, order: float) -> PyTree:
    r"""The moving average of a power of updates.

    .. math:: m' = d \, m + (1 - d) \, u^k

    Args:
        updates: The updates :math:`u`. None stays None, whatever the moment.
        moments: The averages :math:`m` so far, of the same structure.
        decay: How much of the old average to keep, :math:`d`.
        order: The power :math:`k`.

    Returns:
        A tree of new arrays, in the common dtype of update and moment.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.update_moment({"w": np.array([2.0])}, {"w": np.array([1.0])}, 0.5, 2)
        {'w': array([2.5])}
    """
    return _moment("update_moment", updates, moments, decay, order)


def update_moment_per_elem_norm(
    updates: PyTree, moments: PyTree, decay: Any, order: float
) -> PyTree:
    r"""The moving average of a power of updates; complex ones count with their absolute value.

    .. math:: m' = d \, m + (1 - d) \, |u|^k

    Real updates keep their sign in odd powers, as in :func:`update_moment`.

    Args:
        updates: The updates :math:`u`. None stays None, whatever the moment.
        moments: The averages :math:`m` so far, of the same structure.
        decay: How much of the old average to keep, :math:`d`.
        order: The power :math:`k`.

    Returns:
        A tree of new arrays, in the common dtype of power and moment.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.update_moment_per_elem_norm([np.array([3.0 + 4.0j])], [np.zeros(1)], 0.5, 2)
        [array([12.5])]
    """
    op = "update_moment_per_elem_norm"
    return _moment(op, _without_phases(op, updates), moments, decay, order)


def _without_phases(op: str, updates: PyTree) -> PyTree:
    """Updates with the absolute values of those that are complex."""
    size = lambda xp, u: xp.abs(u) if xp.iscomplexobj(u) else xp.asarray(u)
    return mapped(op, size, {"updates": updates}, promotes=False)


def _moment(op: str, updates: PyTree, moments: PyTree, decay: Any, order: float) -> PyTree:
    """The moving average, for the function that errors call ``op``."""

    def average(xp: Any, u: Any, m: Any, kept: Any, rest: Any) -> Any:
        return rest * _power(xp, u, order) + kept * m

    trees = {"updates": updates, "moments": moments}
    return mapped(op, average, trees, (decay, 1 - decay), skips_none=True)


def _power(xp: Any, base: Any, order: float) -> Any:
    """A power, by repeated multiplication where that is possible."""
    if order in (1, 2, 3, 4):
        return reduce(operator.mul, [base] * int(order))
    return xp.sqrt(base) if order == 0.5 else xp.power(base, xp.asarray(order, base.dtype))


def update_infinity_moment(updates: PyTree, moments: PyTree, decay: Any, eps: Any) -> PyTree:
    r"""The decaying maximum of absolute updates.

    .. math:: m' = \max(|u| + \epsilon, \, d \, m)

    Args:
        updates: The updates :math:`u`. None stays None, whatever the moment.
        moments: The maxima :math:`m` so far, of the same structure.
        decay: The factor :math:`d` by which the maxima decay.
        eps: The number :math:`\epsilon` that keeps them above zero.

    Returns:
        A tree of new arrays, in the common dtype of update and moment.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array of numbers.
        LeafValueError: Shapes do not broadcast.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.update_infinity_moment([np.array([-3.0, 0.5])], [np.full(2, 2.0)], 0.5, 0.0)
        [array([3., 1.])]
    """
    op = "update_infinity_moment"
    trees = {"updates": _without_phases(op, updates), "moments": moments}

    def largest(xp: Any, u: Any, m: Any, fades: Any, least: Any) -> Any:
        return xp.maximum(xp.abs(u) + least, fades * m)

    return mapped(op, largest, trees, (decay, eps), skips_none=True)


def bias_correction(moment: PyTree, decay: Any, count: Any) -> PyTree:
    r"""Correct moving averages for their start at zero.

    .. math:: \hat m = m / (1 - d^t)

    On the host the divisor is computed in float64, with the power formed by repeated
    multiplication.

    Args:
        moment: The averages :math:`m`.
        decay: How much of the average each step keeps, :math:`d`.
        count: The number :math:`t` of steps, at least 1.

    Returns:
        A tree of new arrays of the same dtypes; integers become floats.

    Raises:
        LeafTypeError: A leaf is not an array of numbers.
        ValueError: ``count`` is negative.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.bias_correction([np.array([0.5, 1.0])], 0.5, 1)
        [array([1., 2.])]
    """
    if is_foreign(decay) or is_foreign(count):
        share = 1 - decay**count
    elif count < 0:
        raise ValueError(f"count must not be negative, got {count!r:.80}")
    elif count != int(count):
        share = 1 - decay**count
    else:
        share = _core.bias_correction(float(decay), int(count))

    def corrected(xp: Any, m: Any, divisor: Any) -> Any:
        if xp is np:
            return m / divisor
        m = xp.asarray(m)
        return m / divisor if is_exact(m.dtype) else (m / divisor).astype(m.dtype)

    return mapped("bias_correction", corrected, {"moment": moment}, (share,))
