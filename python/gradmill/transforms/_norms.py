"""Norms with a lower bound, differentiable where they would be 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradmill._data.arrays import is_half
from gradmill._data.checks import real
from gradmill._data.numbers import library_of
from gradmill.tree._dtypes import is_exact, real_of
from gradmill.tree._leafwise import quietly


def safe_norm(
    x: Any,
    min_norm: float,
    ord: float | str | None = None,  # noqa: A002  (optax's name)
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
) -> Any:
    r"""The norm of an array, or a lower bound if the norm is smaller.

    .. math:: \max(\|x\|, m)

    For NumPy arrays it is computed in float64, so it overflows only if the result itself does.
    Inside a JAX program its derivative is 0 where the bound applies.

    Args:
        x: A NumPy or JAX array.
        min_norm: The bound :math:`m`.
        ord: Which norm, as in ``numpy.linalg.norm``; None for the Euclidean one.
        axis: The axis of vectors or both axes of matrices; None for the whole array.
        keepdims: Whether these axes stay, of length 1.

    Returns:
        An array without these axes in the dtype of ``x``, or that of its parts; float64 for
        integers of NumPy.

    Raises:
        TypeError: ``min_norm`` is not a number.
        ValueError: ``min_norm`` is NaN, or ``ord`` is unknown.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.safe_norm(np.array([[3.0, 4.0], [0.0, 0.0]]), 1.0, axis=1)
        array([5., 1.])
    """
    return quietly(_bounded, x, real("min_norm", min_norm), ord, axis, keepdims)


def _bounded(x: Any, least: float, order: Any, axis: Any, keepdims: bool) -> Any:
    xp = library_of(x)
    array = xp.asarray(x)
    wide = _wide(xp, array)
    norm = xp.linalg.norm(wide, ord=order, axis=axis, keepdims=True)
    if xp is not np:
        # Where the first may have no derivative, what is chosen is the norm of other numbers.
        safe = xp.where(norm <= least, xp.ones_like(wide), wide)
        norm = xp.where(
            norm <= least, least, xp.linalg.norm(safe, ord=order, axis=axis, keepdims=True)
        )
    found = xp.maximum(norm, least)
    gone = tuple(range(array.ndim)) if axis is None else axis
    return _narrow(xp, found if keepdims else xp.squeeze(found, gone), array)


def safe_root_mean_squares(x: Any, min_rms: float) -> Any:
    r"""The root mean square of an array, or a lower bound if that is smaller.

    .. math:: \max\Bigl(\sqrt{\tfrac{1}{n} \sum_i |x_i|^2}, m\Bigr)

    Args:
        x: A NumPy or JAX array.
        min_rms: The bound :math:`m`, which is also the result for an array without elements.

    Returns:
        A number in the dtype of ``x``, or that of its parts; float64 for integers of NumPy.

    Raises:
        TypeError: ``min_rms`` is not a number.
        ValueError: It is NaN.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> float(gm.safe_root_mean_squares(np.array([1.0, 7.0]), 1.0))
        5.0
    """
    return quietly(_root, x, real("min_rms", min_rms))


def _root(x: Any, least: float) -> Any:
    xp = library_of(x)
    array = xp.asarray(x)
    size = xp.abs(_wide(xp, array))
    mean = xp.sum(size * size) / max(array.size, 1)
    is_small = mean <= least * least
    root = xp.where(is_small, least, xp.sqrt(xp.where(is_small, 1.0, mean)))
    return _narrow(xp, root, array)


def _wide(xp: Any, array: Any) -> Any:
    if xp is not np:
        return array.astype(xp.float32) if is_half(array.dtype) else array
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _narrow(xp: Any, wide: Any, array: Any) -> Any:
    dtype = wide.dtype if is_exact(array.dtype) else real_of(array.dtype)
    narrow = wide.astype(dtype)
    return narrow if xp is not np else narrow[()]
