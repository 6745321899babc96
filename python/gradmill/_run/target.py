"""Target networks: slow copies of parameters, averaged or taken now and then."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradmill._data.arrays import as_array, is_half
from gradmill._data.checks import is_integer, number_of, real
from gradmill._data.numbers import TRACED, is_traced
from gradmill._data.trees import flatten, leaf_path
from gradmill._plan.match import flatten_like
from gradmill._run.sums import sum_into
from gradmill.errors import LeafTypeError, LeafValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree

Array: TypeAlias = np.ndarray[Any, Any]

LeafPath: TypeAlias = "Callable[[str], str]"
"""From the name of a tree to the expression for one of its leaves."""


def incremental_update(
    new_tensors: PyTree, old_tensors: PyTree, step_size: float, *, out: PyTree = None
) -> PyTree:
    r"""Move a running average towards the parameters: a target network that lags behind.

    .. math:: \alpha \theta + (1 - \alpha) \bar\theta

    Args:
        new_tensors: The parameters :math:`\theta`, a tree of arrays of any shape. None stays None.
        old_tensors: The running average :math:`\bar\theta`, a tree of the same structure and
            shapes.
        step_size: How far to move towards the parameters, :math:`\alpha`, from 0 to 1. Target
            networks use 0.001 to 0.01.
        out: Float arrays to write to, a tree like the others; pass ``old_tensors`` itself to update
            the average in place. Each array is then read and written once, with the sum formed in
            float64. None for new arrays.

    Returns:
        ``out``, or a tree of new arrays. A leaf has the wider dtype of its two, float64 for
        integers; ``step_size`` is rounded to that dtype.

    Raises:
        TypeError: ``step_size`` is not a real number.
        ValueError: ``step_size`` is NaN.
        TreeError: The structures differ.
        LeafValueError: Shapes differ; or an array of ``out`` is read-only or shares memory with
            others than its own of ``old_tensors``. Nothing is written then.
        LeafTypeError: A leaf is not an array of numbers; with ``out``, of floats.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params, average = {"w": np.ones(2)}, {"w": np.zeros(2)}
        >>> gm.incremental_update(params, average, step_size=0.25)
        {'w': array([0.25, 0.25])}
        >>> _ = gm.incremental_update(params, average, step_size=0.5, out=average)
        >>> average
        {'w': array([0.5, 0.5])}

    References:
        Polyak and Juditsky, `Acceleration of Stochastic Approximation by Averaging
        <https://doi.org/10.1137/0330046>`_, 1992.
    """
    share = real("step_size", step_size)
    if is_traced(share):
        raise TypeError(f"step_size {TRACED}")

    if out is not None:
        _write_average(new_tensors, old_tensors, float(share), out)
        return out

    def average(new: Any, old: Any, path: LeafPath) -> Array | None:
        return None if new is None else _average(*_both(new, old, path), share, path)

    return _map(average, new_tensors, old_tensors)


def periodic_update(
    new_tensors: PyTree, old_tensors: PyTree, steps: int, update_period: int
) -> PyTree:
    """Copy the parameters every few steps, and keep the copy in between: a target network.

    Args:
        new_tensors: The parameters, a tree of arrays of any shape, or None.
        old_tensors: The current copy, a tree of the same structure, shapes and dtypes.
        steps: The number of steps taken. The parameters are copied if it is a multiple of
            ``update_period``, 0 included.
        update_period: The number of steps between two copies, of either sign; 0 to copy in each
            step, as in optax.

    Returns:
        A copy of ``new_tensors``, which later in-place steps do not touch; or ``old_tensors``
        itself.

    Raises:
        TypeError: ``steps`` or ``update_period`` is not an integer.
        TreeError: The structures differ.
        LeafValueError: Shapes differ.
        LeafTypeError: Dtypes differ, a leaf is not an array of numbers, or one of two is None.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> params, target = np.ones(2), np.zeros(2)
        >>> [gm.periodic_update(params, target, step, update_period=2) for step in (3, 4)]
        [array([0., 0.]), array([1., 1.])]

    References:
        Mnih et al., `Human-Level Control through Deep Reinforcement Learning
        <https://doi.org/10.1038/nature14236>`_, 2015.
    """
    for name, number in (("steps", steps), ("update_period", update_period)):
        if is_traced(number):
            raise TypeError(f"{name} {TRACED}")
        if not is_integer(number):
            raise TypeError(f"{name} must be an integer, got {number!r:.80}")
    taken, period = int(number_of(steps)), int(number_of(update_period))
    is_due = period == 0 or taken % period == 0

    def copy(new: Any, old: Any, path: LeafPath) -> Array | None:
        if new is None and old is None:
            return None
        new, old = _both(new, old, path)
        if new.dtype != old.dtype:
            found = f"dtype {new.dtype}, old_tensors has {old.dtype}"
            raise LeafTypeError(f"{path('new_tensors')}: {found}")
        return np.array(new) if is_due else None

    copies = _map(copy, new_tensors, old_tensors)
    return copies if is_due else old_tensors


def _map(function: Callable[[Any, Any, LeafPath], Any], new_tensors: Any, old_tensors: Any) -> Any:
    """``function`` of each leaf, the one of the target, and what names it in an error."""
    leaves, treespec = flatten(new_tensors)
    targets = flatten_like(treespec, old_tensors, "old_tensors", "new_tensors")
    return treespec.unflatten(
        [
            function(new, old, partial(leaf_path, treespec, index))
            for index, (new, old) in enumerate(zip(leaves, targets, strict=True))
        ]
    )


def _write_average(new_tensors: PyTree, old_tensors: PyTree, share: float, out: PyTree) -> None:
    leaves, spec = flatten(new_tensors)
    old = flatten_like(spec, old_tensors, "old_tensors", "new_tensors")
    sums = flatten_like(spec, out, "out", "new_tensors")
    names = ("new_tensors", "old_tensors")
    if all(one is other for one, other in zip(sums, old, strict=True)):
        sum_into(spec, sums, [leaves], [share], names[:1], 1 - share)
    else:
        sum_into(spec, sums, [leaves, old], [share, 1 - share], names)


def _both(new: Any, old: Any, path: LeafPath) -> tuple[Array, Array]:
    """Two leaves as arrays.

    Raises:
        LeafTypeError: One is not an array of numbers.
        LeafValueError: Their shapes differ.
    """
    new, old = _array(new, path, "new_tensors"), _array(old, path, "old_tensors")
    if new.shape != old.shape:
        raise LeafValueError(
            f"{path('new_tensors')}: shape {new.shape}, old_tensors has {old.shape}"
        )
    return new, old


def _array(leaf: Any, path: LeafPath, root: str) -> Array:
    try:
        array = as_array(leaf)
    except TypeError as error:
        raise LeafTypeError(f"{path(root)}: {error}") from None
    # Holds for bfloat16 of ml_dtypes as well, which has no kind of its own.
    if not np.can_cast(array.dtype, np.complex128, "same_kind"):
        found = type(leaf).__name__ if array.dtype.kind == "O" else f"dtype {array.dtype}"
        raise LeafTypeError(f"{path(root)}: {found}, expected numbers")
    return array


def _average(new: Array, old: Array, share: float, path: LeafPath) -> Array:
    try:
        dtype = np.promote_types(new.dtype, old.dtype)
    except TypeError:
        raise LeafTypeError(
            f"{path('new_tensors')}: dtype {new.dtype}, which has no common dtype with the"
            f" {old.dtype} of old_tensors"
        ) from None
    if dtype.kind in "biu":
        dtype = np.dtype(np.float64)
    wide = np.dtype(np.float32) if is_half(dtype) else dtype
    new, old = new.astype(wide, copy=False), old.astype(wide, copy=False)
    average = np.empty_like(new)
    with np.errstate(all="ignore"):  # infinities are no errors here, as in the core
        np.multiply(new, wide.type(share), out=average)
        average += np.multiply(old, wide.type(1 - share))
        return average.astype(dtype, copy=False)
