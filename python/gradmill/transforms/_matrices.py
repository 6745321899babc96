"""Eigenvalues and roots of NumPy matrices, computed in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill import tree
from gradmill._data.arrays import as_native
from gradmill._data.checks import is_integer, real
from gradmill.tree._leafwise import mapped, quietly

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree


def power_iteration(
    matrix: Any | Callable[[PyTree], PyTree],
    *,
    v0: PyTree | None = None,
    num_iters: int = 100,
    error_tolerance: float = 1e-6,
    precision: object = None,  # noqa: ARG001  (it is that of float64)
    key: Any = None,
) -> tuple[Any, PyTree]:
    r"""The eigenvalue of largest magnitude of a matrix, and its eigenvector.

    .. math:: v' = A v / \|A v\|, \qquad \lambda = \langle v, A v \rangle

    Args:
        matrix: A symmetric matrix, or a function that multiplies a tree of arrays by one.
        v0: The first vector, a tree of arrays; None for a random one.
        num_iters: The largest number of steps.
        error_tolerance: Ends when no element of :math:`A v - \lambda v` is larger.
        precision: Accepted for compatibility with optax; products are always computed in float64.
        key: What the first vector is drawn with, for :func:`gradmill.tree.random_like`.

    Returns:
        The eigenvalue and the vector, of length 1, in the dtypes of the first vector. Of a matrix
        of zeros it is 0, and any vector.

    Raises:
        LeafTypeError: A leaf is not an array of floats.
        ValueError: The matrix is not square; or it is a function, and ``v0`` is missing.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> value, vector = gm.power_iteration(np.diag([3.0, 1.0]), v0=np.ones(2))
        >>> float(value.round(6)), vector.round(6)
        (3.0, array([1., 0.]))
    """
    product: Callable[[PyTree], PyTree]
    if callable(matrix):
        if v0 is None:
            raise ValueError("v0 is required when the matrix is a function")
        product = matrix
    else:
        own = _square("power_iteration", matrix)
        product = lambda v: own.astype(np.float64) @ v
        if v0 is None:
            drawn = tree.random_like(0 if key is None else key, np.zeros(len(own)))
            v0 = np.asarray(drawn, own.dtype)
    tolerance = real("error_tolerance", error_tolerance)
    wide = tree.cast(v0, np.float64)
    value, vector = quietly(_dominant, product, wide, int(num_iters), tolerance)
    return np.asarray(value, tree.dtype(v0, "promote")), tree.cast_like(vector, v0)


def _dominant(
    product: Callable[[PyTree], PyTree], start: PyTree, most: int, tolerance: float
) -> tuple[float, PyTree]:
    value, vector = 0.0, _of_length_one(tree.cast(product(start), np.float64), start)
    for _ in range(most):
        image = tree.cast(product(vector), np.float64)
        value = float(tree.vdot(vector, image))
        rest = tree.add_scale(image, -value, vector)
        vector = _of_length_one(image, vector)
        if not tree.norm(rest, ord="inf") > tolerance:
            break
    return value, vector


def _of_length_one(vector: PyTree, other: PyTree) -> PyTree:
    """The vector by its length; the other one if that is 0."""
    length = float(tree.norm(vector))
    if length == 0:
        vector, length = other, float(tree.norm(other)) or 1.0
    return mapped("power_iteration", lambda _, x: x / length, {"v0": vector})


def matrix_inverse_pth_root(
    matrix: Any,
    p: int,
    num_iters: int = 100,  # noqa: ARG001  (there are none)
    ridge_epsilon: float = 1e-6,
    error_tolerance: float = 1e-6,  # noqa: ARG001  (it is as small as can be)
    precision: object = None,  # noqa: ARG001  (it is that of float64)
) -> tuple[Any, Any]:
    r"""The inverse :math:`p`-th root of a matrix, as preconditioners need it.

    .. math:: (A + r I)^{-1/p}, \qquad r = \epsilon \max(\lambda_{\max}(A), 10^{-6})

    It is computed from eigenvalues, where optax iterates: exact to float64, however badly
    conditioned the matrix is.

    Args:
        matrix: A symmetric, positive semidefinite matrix :math:`A`, as far as its dtype can say.
        p: The root to take, at least 1.
        num_iters: Accepted for compatibility with optax, and ignored.
        ridge_epsilon: The share :math:`\epsilon` of the largest eigenvalue that is added to all.
        error_tolerance: Accepted for compatibility with optax, and ignored.
        precision: Accepted for compatibility with optax, and ignored.

    Returns:
        The root in the dtype of the matrix, and the largest element of
        :math:`X^p (A + r I) - I`, signs aside, for the root :math:`X` in float64.

    Raises:
        TypeError: ``matrix`` is not an array of floats, or ``p`` no integer.
        ValueError: The matrix is not square or not positive semidefinite, or ``p`` is below 1.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> root, error = gm.matrix_inverse_pth_root(np.diag([16.0, 1.0]), 4, ridge_epsilon=0.0)
        >>> root
        array([[0.5, 0. ],
               [0. , 1. ]])
    """
    op = "matrix_inverse_pth_root"
    own = _square(op, matrix)
    if not is_integer(p):
        raise TypeError(f"p must be an integer, got {p!r:.80}")
    power = int(real("p", p, at_least=1))
    share = real("ridge_epsilon", ridge_epsilon, at_least=0)
    if own.size == 0 or not np.isfinite(own).all():
        return np.full(own.shape, np.nan, own.dtype), own.dtype.type(np.nan)
    one = own.dtype.type(1)
    rounding = len(own) * float(np.nextafter(one, own.dtype.type(2)) - one)
    root, error = quietly(_inverse_root, op, own.astype(np.float64), power, share, rounding)
    with np.errstate(over="ignore"):
        return root.astype(own.dtype), own.dtype.type(error)


def _inverse_root(
    op: str, matrix: Any, power: int, share: float, rounding: float
) -> tuple[Any, float]:
    values, vectors = np.linalg.eigh(matrix)
    # What is below zero by no more than the matrix was rounded is zero.
    values = np.where(abs(values) <= rounding * values[-1], np.maximum(values, 0), values)
    ridge = share * max(float(values[-1]), 1e-6)
    shifted = values + ridge
    if shifted[0] <= 0:
        raise ValueError(
            f"matrix has the eigenvalue {values[0]:.3g}, but must be positive semidefinite; a"
            f" larger ridge_epsilon would help ({op})"
        )
    root = (vectors * shifted ** (-1.0 / power)) @ vectors.T
    unit = np.linalg.matrix_power(root, power) @ (matrix + ridge * np.eye(len(matrix)))
    return root, float(np.abs(unit - np.eye(len(matrix))).max())


def _square(op: str, matrix: Any) -> Any:
    try:
        array = as_native(matrix)
    except TypeError as error:
        raise TypeError(f"matrix: {error} ({op})") from None
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"matrix: shape {array.shape}, expected a square one ({op})")
    return array
