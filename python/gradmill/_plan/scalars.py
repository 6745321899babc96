"""The numbers of one step, all in float64: hyperparameters and counts.

A scalar is rounded to the leaf's dtype once, after all arithmetic among scalars. In float32, where
optax has it, ``1 - 0.999`` loses five digits; here a first step of Adam is the sign of the gradient
to within a rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradmill import _core
from gradmill._data.arrays import is_half
from gradmill._data.numbers import TRACED, is_traced, library_of
from gradmill._data.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree
    from gradmill._plan.spec import Spec

_INT32 = np.dtype(np.int32)
COUNT_MAX = int(np.iinfo(_INT32).max)

Scalar: TypeAlias = "float | Callable[[int], float]"
"""A number, or a function of the number of steps taken."""


def the_count(count: Any) -> Any:
    """Stands among scalars for the count itself."""
    return count


def scalars_of(spec: Spec) -> list[Scalar]:
    """The scalars of the op of ``spec``, in order, where no control has them."""
    if spec.op is None:
        return []
    return [the_count if name == "count" else spec.hyper[name] for name in spec.op.scalars]


def counted(names: tuple[str, ...], state: PyTree) -> dict[str, Any]:
    """The fields of a state in which the host counts steps, after one more."""
    return {name: next_count(getattr(state, name)) for name in names}


def step_scalars(spec: Spec) -> _core.Scalars:
    """The scalars of the op of ``spec`` for the core; hyperparameters may be schedules.

    Raises:
        TypeError: A hyperparameter is traced by JAX.
    """
    return _core.Scalars([_curve_of(value) if callable(value) else value for value in _row(spec)])


def scalars_now(spec: Spec) -> _core.Scalars:
    """The same for a single step, for which it does not pay to write schedules down."""
    return _core.Scalars(_row(spec))


def _row(spec: Spec) -> list[Scalar | _core.Count]:
    for name, value in spec.hyper.items():
        if is_traced(value):
            raise TypeError(f"{name} {TRACED}")
    return [_COUNT if value is the_count else value for value in scalars_of(spec)]


_COUNT = _core.Count()


def _curve_of(schedule: Any) -> Any:
    """A schedule as a tape for the core, where it is one of ours; else as it is."""
    tape = Tape()
    count = tape.input(_INT32)
    try:
        result = tape.number(schedule(count))
    except Exception:  # noqa: BLE001  (it does more than a tape can)
        return schedule
    if tape.functions:
        return schedule
    constants, ops = tape.written()
    return _core.Curve(constants, ops, tape.index(result), schedule)


def next_count(count: Any) -> Any:
    """The count of the step behind that with ``count``; it stays at the largest one."""
    dtype = getattr(count, "dtype", _INT32)
    top = COUNT_MAX if dtype == _INT32 else min(COUNT_MAX, int(np.iinfo(dtype).max))
    if is_traced(count):
        return count.__array_namespace__().minimum(count, top - 1) + 1
    return min(int(count) + 1, top)


def safe_increment(count: Any) -> Any:
    """Add one, or stay at the largest value of the dtype.

    Args:
        count: A 0-d array or scalar of an integer or float dtype.

    Returns:
        A 0-d array of the same dtype and library.

    Raises:
        ValueError: ``count`` is of no such dtype.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.safe_increment(np.int32(7))
        array(8, dtype=int32)
        >>> gm.safe_increment(np.int32(2**31 - 1))
        array(2147483647, dtype=int32)
    """
    library = library_of(count)
    array = library.asarray(count)
    dtype = array.dtype
    one = dtype.type(1)
    if dtype.kind in "iu":
        top = dtype.type(np.iinfo(dtype).max)
        more = library.where(array < top, array + one, array)
    elif dtype.kind == "f" or is_half(dtype):
        # The largest float absorbs it.
        more = array + one
    else:
        raise ValueError(f"count must be an integer or a float, got dtype {dtype}")
    return library.asarray(more, dtype=dtype)
