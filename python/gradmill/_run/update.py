"""What to do with updates: add them to parameters, or measure them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gradmill import _core, errors
from gradmill._data.arrays import as_native
from gradmill._data.numbers import is_foreign
from gradmill._data.threads import scoped
from gradmill._data.trees import Flattener, Treespec, flatten, leaf_path
from gradmill._plan.align import hint_for, kind_of
from gradmill._plan.match import match
from gradmill.errors import LeafTypeError, TreeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradmill._data.types import P, PyTree


_flatten_params = Flattener()
"""For all threads, which it is made for."""


def leaf_error(
    fault: _core.CoreError, treespec: Treespec, **trees: list[Any]
) -> errors.GradmillError:
    """The error for what the core reports of a leaf; ``trees`` are leaves by the tree's name."""
    (tree, _, leaf), _, is_type_error, _ = fault.args
    hint = hint_for(trees[tree][leaf]) if is_type_error and tree in trees else ""
    return errors.from_fault(fault, lambda place: leaf_path(treespec, place[2], place[0]), hint)


def apply_updates(params: P, updates: PyTree) -> P:
    """Add updates to parameters.

    The sum is formed in the wider of the two dtypes and rounded to the parameter's. Complex leaves,
    for which :func:`gradmill.contrib.split_real_and_imaginary` makes updates, are added too.

    Args:
        params: A tree of float arrays of 16, 32 or 64 bits, of any shape.
        updates: A tree of the same structure and shapes; mappings of any kind match by key. None
            leaves its parameter as it is. So does an update of zeros for a parameter that is not a
            float array, such as a count, a flag or a key.

    Returns:
        New parameters; the arguments are not written to. A parameter that does not change comes
        back as the same array: copying frozen parameters would cost more than the step.

    Raises:
        TreeError: The structures differ, or there is an update for a parameter that is None.
        LeafValueError: Shapes differ.
        LeafTypeError: A leaf is not an array of floats, and there is something to add.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.apply_updates({"w": np.ones(2)}, {"w": np.array([-0.5, 0.5])})
        {'w': array([0.5, 1.5])}
    """
    nest = _flatten_params.last.nest
    if nest is not None:
        try:
            summed = _core.apply_trees(nest, params, updates, scoped.get())
        except _core.CoreError:
            # What is wrong is found once more, and called by its name.
            summed = None
        if summed is not None:
            return summed
    leaves, structure = _flatten_params(params)
    steps = match(updates, structure, "updates", "params", leaves=leaves).leaves
    if type(None) in set(map(type, leaves)):
        for at, (param, update) in enumerate(zip(leaves, steps, strict=True)):
            if param is None and update is not None:
                raise none_error(update, structure.spec, at)
    return cast("P", structure.spec.unflatten(_summed(leaves, steps, structure.spec)))


def _summed(leaves: list[Any], steps: list[Any], spec: Treespec) -> list[Any]:
    """The new parameters, leaf by leaf."""
    try:
        return _core.apply_updates(leaves, steps, scoped.get())
    except _core.CoreError as fault:
        if any(map(_is_complex, leaves, steps)):
            pairs = list(map(_real_parts, leaves, steps))
            new = _summed([pair[0] for pair in pairs], [pair[1] for pair in pairs], spec)
            return list(map(_joined, leaves, steps, new))
        nonzero = _without_zeros(leaves, steps, spec)
        if all(other is update for other, update in zip(nonzero, steps, strict=True)):
            raise leaf_error(fault, spec, params=leaves, updates=steps) from None
        try:
            return _core.apply_updates(leaves, nonzero, scoped.get())
        except _core.CoreError as other:
            raise leaf_error(other, spec, params=leaves, updates=nonzero) from None


def _is_complex(param: Any, update: Any) -> bool:
    """Whether to add a complex parameter and its update as pairs of numbers."""
    if not all(map(_has_dtype, (param, update))) or param.shape != update.shape:
        return False
    return bool(param.dtype.kind == update.dtype.kind == "c")


def _has_dtype(leaf: Any) -> bool:
    """Whether it is a NumPy array itself or of another library; one with a mask is not."""
    return type(leaf) is np.ndarray or isinstance(leaf, np.generic) or is_foreign(leaf)


def _real_parts(param: Any, update: Any) -> tuple[Any, Any]:
    """Both with a last axis for real and imaginary parts, if they are complex."""
    if not _is_complex(param, update):
        return param, update
    first, second = (np.asarray(leaf, order="C")[..., None] for leaf in (param, update))
    return first.view(first.real.dtype), second.view(second.real.dtype)


def _joined(param: Any, update: Any, new: Any) -> Any:
    """A new parameter, which is complex again if it was."""
    if not _is_complex(param, update):
        return new
    return new.view(np.asarray(param).dtype)[..., 0]


def none_error(update: Any, treespec: Treespec, at: int) -> TreeError:
    """The error for an update of a leaf that has no parameter."""
    return TreeError(f"{leaf_path(treespec, at, 'updates')}: {kind_of(update)}, params has None")


def _without_zeros(params: Sequence[Any], updates: Sequence[Any], treespec: Treespec) -> list[Any]:
    """The updates, with None for those that are zero where the parameter is not an array of floats.

    Raises:
        LeafTypeError: A parameter that is not a float array has a nonzero update.
    """
    nonzero: list[Any] = []
    for at, (param, update) in enumerate(zip(params, updates, strict=True)):
        try:
            if update is not None:
                as_native(param)
            nonzero.append(update)
        except TypeError as error:
            if not _is_zero(update):
                path = leaf_path(treespec, at, "params")
                problem = f"{error}, and its update is not zero{hint_for(param)}"
                raise LeafTypeError(f"{path}: {problem}") from None
            nonzero.append(None)
    return nonzero


def _is_zero(update: Any) -> bool:
    try:
        array = np.asarray(update)
        # What JAX has for gradients of integers has no elements to look at.
        return array.dtype.kind == "V" or not array.any()
    except Exception:  # noqa: BLE001  (an __array__ may raise anything)
        return False


def global_norm(updates: PyTree) -> float:
    r"""The Euclidean norm of all leaves together.

    .. math:: \sqrt{\sum_i u_i^2}

    Squares are accumulated in float64 and rescaled if need be, so the result overflows only where
    the norm itself does; it is the same on any number of threads.

    Args:
        updates: A tree of float arrays of 16, 32 or 64 bits, of any shape.

    Returns:
        The norm; NaN or infinity if the updates contain such elements.

    Raises:
        LeafTypeError: A leaf is not an array of floats.

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
