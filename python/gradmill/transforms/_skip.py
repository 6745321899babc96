"""Updates that are better skipped: how to detect and skip them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from gradmill import _core
from gradmill._data.checks import is_integer, real
from gradmill._data.numbers import is_traced, library_of
from gradmill._data.threads import scoped
from gradmill._data.trees import flatten, tree_map
from gradmill._run.update import global_norm, leaf_error

if TYPE_CHECKING:
    from typing import TypeAlias, TypeVar

    from gradmill._data.types import P, PyTree

    _Count: TypeAlias = int | np.integer[Any]
    _State = TypeVar("_State")

_MISSING: Any = object()


@overload
def skip_not_finite(
    updates: PyTree, gradient_step: _Count, /, params: PyTree | None = None
) -> tuple[Any, dict[str, Any]]: ...
@overload
def skip_not_finite(
    updates: PyTree, *, gradient_step: _Count, params: PyTree | None = None
) -> tuple[Any, dict[str, Any]]: ...
@overload
def skip_not_finite(
    updates: P, state: _State, params: PyTree | None = None
) -> tuple[P, _State]: ...
def skip_not_finite(
    updates: PyTree,
    state: Any = _MISSING,
    params: PyTree | None = None,  # noqa: ARG001  (both forms have them)
    *,
    gradient_step: Any = _MISSING,
) -> tuple[Any, Any]:
    """Leave out updates that contain an infinity or a NaN.

    ``skip_not_finite(updates, state, params=None)`` (the specification's form) returns zeros if any
    element is not finite, and the state unchanged.
    ``skip_not_finite(updates, gradient_step, params)`` (optax's), with an integer as second
    argument, is a predicate for :class:`MultiSteps`. In a chain, use :func:`apply_if_finite`.

    Args:
        updates: A tree of float arrays of 16, 32 or 64 bits, of any shape.
        state: The optimizer's state, or the number of steps.
        params: The parameters, which are not used.
        gradient_step: The number of steps by name.

    Returns:
        Updates and state; or whether to skip, and a dict of ``should_skip`` and
        ``num_not_finite``, the number of such elements (int32).

    Raises:
        TypeError: There are a state and a number of steps, or neither.
        LeafTypeError: A leaf is not an array of floats.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.skip_not_finite(np.array([1.0, np.nan]), gm.EmptyState())
        (array([0., 0.]), EmptyState())
        >>> gm.skip_not_finite(np.array([1.0, np.nan]), 0, None)[1]["num_not_finite"]
        np.int32(1)
    """
    given = [value for value in (state, gradient_step) if value is not _MISSING]
    if len(given) != 1:
        raise TypeError(
            "skip_not_finite takes skip_not_finite(updates, state, params=None) or"
            " skip_not_finite(updates, gradient_step, params)"
        )
    is_predicate = gradient_step is not _MISSING or is_integer(state)
    if _are_traced(updates):
        number = _jax_sums().count_not_finite(updates)
        if is_predicate:
            return number > 0, {"should_skip": number > 0, "num_not_finite": number}
        return _zeros_where(number > 0, updates), state
    leaves, treespec = flatten(updates)
    try:
        number = _core.count_not_finite(leaves, scoped.get())
    except _core.CoreError as fault:
        raise leaf_error(fault, treespec) from None
    if is_predicate:
        skip = np.bool_(number > 0)
        return skip, {"should_skip": skip, "num_not_finite": np.int32(number)}
    return tree_map(np.zeros_like if number else np.array, updates), state


@overload
def skip_large_updates(
    updates: PyTree, gradient_step: _Count, /, params: PyTree | None, max_squared_norm: float
) -> tuple[Any, dict[str, Any]]: ...
@overload
def skip_large_updates(
    updates: PyTree, gradient_step: _Count, /, params: PyTree | None = None, *, max_norm: float
) -> tuple[Any, dict[str, Any]]: ...
@overload
def skip_large_updates(updates: P, state: _State, max_norm: float, /) -> tuple[P, _State]: ...
@overload
def skip_large_updates(updates: P, state: _State, *, max_norm: float) -> tuple[P, _State]: ...
def skip_large_updates(
    updates: PyTree,
    state: Any = _MISSING,
    params: PyTree = _MISSING,
    max_squared_norm: Any = _MISSING,
    *,
    gradient_step: Any = _MISSING,
    max_norm: Any = _MISSING,
) -> tuple[Any, Any]:
    r"""Leave out updates whose norm is not below a bound; a NaN is not.

    ``skip_large_updates(updates, state, max_norm)`` (the specification's form) returns zeros unless
    :math:`\lVert u \rVert < m`, and the state unchanged. ``skip_large_updates(updates,
    gradient_step, params, max_squared_norm)`` (optax's) is a predicate for :class:`MultiSteps`,
    with a bound on the squared norm.

    Args:
        updates: A tree of float arrays of 16, 32 or 64 bits, of any shape.
        state: The optimizer's state, or the number of steps.
        params: In the first form, the bound of the norm; in the second, the parameters, which are
            not used.
        max_squared_norm: The bound of the squared norm.
        gradient_step: The number of steps by name.
        max_norm: The bound of the norm, by name, in either form.

    Returns:
        Updates and state; or whether to skip, and a dict of ``should_skip`` and ``norm_squared``.

    Raises:
        TypeError: The arguments have neither form.
        LeafTypeError: A leaf is not an array of floats.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.skip_large_updates(np.array([3.0, 4.0]), gm.EmptyState(), max_norm=5.0)
        (array([0., 0.]), EmptyState())
        >>> gm.skip_large_updates(np.array([3.0, 4.0]), 0, None, max_squared_norm=26.0)[0]
        np.False_
    """
    second = [value for value in (state, gradient_step) if value is not _MISSING]
    rest = [value for value in (params, max_squared_norm, max_norm) if value is not _MISSING]
    if len(second) != 1 or not rest or len(rest) > 2:
        raise TypeError(
            "skip_large_updates takes skip_large_updates(updates, state, max_norm) or"
            " skip_large_updates(updates, gradient_step, params, max_squared_norm)"
        )
    are_traced = _are_traced(updates)
    norm = _jax_sums().global_norm(updates) if are_traced else global_norm(updates)
    if len(rest) == 1:
        small = norm < real("max_norm", rest[0])
        if are_traced:
            return _zeros_where(~small, updates), state
        return tree_map(np.array if small else np.zeros_like, updates), state
    bound = real("max_squared_norm", rest[1])
    if are_traced:
        skip = ~(norm < (bound**0.5 if max_norm is _MISSING else bound))
        return skip, {"should_skip": skip, "norm_squared": norm * norm}
    skip = np.bool_(not norm * norm < (bound if max_norm is _MISSING else bound * bound))
    leaves = [np.asarray(leaf).dtype for leaf in flatten(updates)[0] if leaf is not None]
    with np.errstate(over="ignore"):
        squared = np.float64(norm * norm).astype(np.result_type(np.float32, *leaves))
    return skip, {"should_skip": skip, "norm_squared": squared}


def _are_traced(updates: PyTree) -> bool:
    return any(map(is_traced, flatten(updates)[0]))


def _jax_sums() -> Any:
    from gradmill._ops import jax_sums  # noqa: PLC0415  (JAX need not be installed)

    return jax_sums


def _zeros_where(skip: Any, updates: PyTree) -> PyTree:
    where = library_of(skip).where
    return tree_map(lambda leaf: where(skip, 0, leaf), updates)
