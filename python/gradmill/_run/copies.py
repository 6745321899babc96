"""Values from outside that are copied into an optimizer's arrays."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill import errors
from gradmill._data.arrays import as_native, is_float, is_half
from gradmill._data.checks import is_integer, is_real, number_of
from gradmill._data.numbers import is_foreign
from gradmill._data.trees import Structure, Treespec, flatten, leaf_path
from gradmill._plan.control import COUNT_TOP
from gradmill._plan.match import flatten_like, match
from gradmill._plan.states import steps_counted
from gradmill._run.bound import ANYTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gradmill._data.types import PyTree
    from gradmill._plan.layout import Layout
    from gradmill._plan.links import Link


def masters_of(master: bool | PyTree, leaves: list[Any], treespec: Treespec) -> list[Any]:
    """For each leaf the float32 array that the chain works on, or None for the leaf itself."""
    if master is False:
        return [None] * len(leaves)
    halves = [isinstance(leaf, np.ndarray) and is_half(leaf.dtype) for leaf in leaves]
    sources = leaves if master is True else flatten_like(treespec, master, "master", "params")
    masters: list[Any] = []
    for index, (source, leaf, half) in enumerate(zip(sources, leaves, halves, strict=True)):
        path = partial(leaf_path, treespec, index, "master")
        masters.append(_master(source, leaf.shape, path) if half else None)
    return masters


def _master(source: Any, shape: tuple[int, ...], path: Callable[[], str]) -> np.ndarray[Any, Any]:
    try:
        array = as_native(source)
    except TypeError as error:
        raise errors.LeafTypeError(f"{path()}: {error}") from None
    if array.shape != shape:
        raise errors.LeafValueError(f"{path()}: shape {array.shape}, params has {shape}")
    try:
        with np.errstate(over="raise"):
            return np.array(array, np.float32)
    except FloatingPointError:
        raise errors.LeafValueError(
            f"{path()}: holds values that float32 cannot represent"
        ) from None


def copied(old: Any, new: Any, path: Callable[[], str], dtype: Any = None) -> Any:
    """A copy of what is to take the place of the array ``old``, in its dtype or the one given.

    Raises:
        LeafTypeError: It is not an array.
        LeafValueError: It has another shape or dtype, or ``old`` is read-only.
    """
    if not isinstance(old, np.ndarray):
        return new
    if isinstance(new, np.ma.MaskedArray):
        raise errors.LeafTypeError(f"{path()}: is a masked array, whose mask would be lost")
    try:
        # A hyperparameter may have been assigned as a plain number.
        is_array = isinstance(new, np.ndarray) or is_foreign(new)
        is_number = not is_array and is_float(old.dtype) and is_real(new)
        is_number = is_number or isinstance(new, int)
        array = np.array(new, (dtype or old.dtype) if is_number else None)
    except errors.GradmillError:
        # An array in a file, which is damaged.
        raise
    except Exception as error:  # noqa: BLE001  (an __array__ may raise anything)
        raise errors.LeafTypeError(f"{path()}: is not an array: {error}") from None
    if array.dtype.kind == "O":
        raise errors.LeafTypeError(f"{path()}: is a {type(new).__name__}, expected an array")
    _check_same(array, old.shape, dtype or old.dtype, path)
    if not old.flags.writeable:
        raise errors.LeafValueError(f"{path()}: was made read-only in the optimizer")
    return array


def _check_same(array: Any, shape: tuple[int, ...], dtype: Any, path: Callable[[], str]) -> None:
    if (array.shape, array.dtype) != (shape, dtype):
        raise errors.LeafValueError(
            f"{path()}: {array.dtype} of shape {array.shape}, "
            f"expected {np.dtype(dtype)} of shape {shape}"
        )


def new_values(
    treespec: Treespec, bound: list[Any], now: list[Any], given: list[Any], masters: list[Any]
) -> list[tuple[Any, Any]]:
    """What to copy where for parameters to have the values that are given.

    Args:
        treespec: The structure of the parameters.
        bound: The arrays that steps write to, or :data:`ANYTHING`.
        now: The arrays that they are to write to from now on; the same, as a rule.
        given: Arrays of values, or those of ``now`` themselves.
        masters: The float32 copies of parameters of half precision, or None.

    Raises:
        LeafTypeError: A leaf is not an array.
        LeafValueError: A leaf has another shape or dtype, or is read-only.
    """
    values: list[tuple[Any, Any]] = []
    for index, (old, own, new, master) in enumerate(zip(bound, now, given, masters, strict=True)):
        path = partial(leaf_path, treespec, index, "params")
        is_array = isinstance(own, np.ndarray)
        if new is own is old or (old is ANYTHING and (new is own or not is_array)):
            continue
        if not is_array or old is None:
            raise errors.LeafTypeError(f"{path()}: cannot be loaded, because it is not an array")
        if old is not ANYTHING:
            _check_same(own, old.shape, old.dtype, path)
        array = own
        if new is not own:
            is_single = master is not None and getattr(new, "dtype", None) == np.float32
            array = copied(own, new, path, np.float32 if is_single else None)
            with np.errstate(over="ignore"):
                values.append((own, array.astype(own.dtype, copy=False)))
        if master is not None:
            values.append((master, array.astype(np.float32, copy=False)))
    return values


def read_states(
    own: PyTree,
    state: PyTree,
    layout: Layout,
    links: Sequence[Link],
    at: int,
    steps: int | None,
) -> tuple[int, list[PyTree], list[tuple[Any, Any]]]:
    """Of a state that is given the steps taken, the links' states, and what to copy where.

    Args:
        own: The optimizer's state, whose arrays are kept.
        state: The state that is given.
        layout: How both are made up.
        links: The links.
        at: The position from which on the arrays of links' states are kept.
        steps: The steps taken; None for the largest count in the state.

    Raises:
        TreeError: The structures differ.
        LeafTypeError: A leaf is not an array.
        LeafValueError: A shape or dtype differs, a count is negative, or an array is read-only.
        ValueError: ``steps`` is negative.
    """
    layout.parts(state)
    current, treespec = flatten(own)
    given = match(state, Structure(treespec), "state", "the optimizer's state").leaves
    copies = [
        copied(old, new, partial(leaf_path, treespec, index, "state"))
        for index, (old, new) in enumerate(zip(current, given, strict=True))
    ]
    kept = [
        old if isinstance(old, np.ndarray) else new
        for old, new in zip(current, copies, strict=True)
    ]
    parts = layout.parts(treespec.unflatten(copies))
    tail = layout.parts(treespec.unflatten(kept))[at:]
    counted = steps_counted(links, parts)
    taken = counted if steps is None else number_of_steps(steps)
    pairs = zip(flatten(tail)[0], flatten(parts[at:])[0], strict=True)
    values = [(old, new) for old, new in pairs if isinstance(old, np.ndarray)]
    return taken, [*parts[:at], *tail], values


def copy_all(values: Iterable[tuple[Any, Any]]) -> None:
    """Copy arrays into others, all of which have been looked at."""
    for old, new in values:
        np.copyto(old, new)


def number_of_steps(steps: object) -> int:
    """An integer that counts steps.

    Raises:
        TypeError: ``steps`` is not an integer.
        ValueError: It is negative, or more than a count holds.
    """
    if not is_integer(steps):
        raise TypeError(f"steps must be an integer, got {steps!r}")
    taken = int(number_of(steps))
    if not 0 <= taken <= COUNT_TOP:
        raise ValueError(f"steps must be from 0 to 2**63 - 1, got {taken}")
    return taken
