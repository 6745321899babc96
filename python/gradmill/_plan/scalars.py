"""The numbers of one step, all in float64: learning rates, corrections, counts.

A correction is ``1 - b**t`` with the power by repeated multiplication. In float32, where optax has
it, ``1 - 0.999`` loses five digits; here a first step of Adam is the sign of the gradient to within
a rounding. A scalar is rounded to the leaf's dtype once, after all arithmetic among scalars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradmill import _core
from gradmill._data.numbers import TRACED, is_traced, library_of
from gradmill._data.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradmill._plan.spec import Spec

_INT32 = np.dtype(np.int32)
COUNT_MAX = int(np.iinfo(_INT32).max)

Scalar: TypeAlias = "float | Callable[[int], float]"
"""A number, or a function of the number of steps taken."""


Correction: TypeAlias = "Callable[[Any, int], Scalar]"
"""Makes of a decay and a number ``ahead`` the function ``1 - decay**(count + ahead)`` of counts."""


def _adam(hyper: Mapping[str, Any], correction: Correction) -> list[Scalar]:
    b1, b2, eps, eps_root = (hyper[name] for name in ("b1", "b2", "eps", "eps_root"))
    return [b1, b2, eps, eps_root, correction(b1, 1), correction(b2, 1)]


def _adam_nesterov(hyper: Mapping[str, Any], correction: Correction) -> list[Scalar]:
    return [*_adam(hyper, correction), correction(hyper["b1"], 2)]


def _rms(hyper: Mapping[str, Any], correction: Correction) -> list[Scalar]:
    decay, eps, eps_root = (hyper[name] for name in ("decay", "eps", "eps_root"))
    return [decay, eps, eps_root, correction(decay, 1) if hyper["bias_correction"] else 1.0]


def _ema(hyper: Mapping[str, Any], correction: Correction) -> list[Scalar]:
    decay = hyper["decay"]
    return [decay, correction(decay, 1) if hyper["debias"] else 1.0]


_DERIVED: dict[str, Callable[[Mapping[str, Any], Correction], list[Scalar]]] = {
    "scale_by_adam": _adam,
    "scale_by_adam_nesterov": _adam_nesterov,
    "scale_by_rms": _rms,
    "scale_by_stddev": _rms,
    "ema": _ema,
}

SCALARS = {op["name"]: tuple(op["scalars"]) for op in _core.list_ops()}
"""The names of each op's scalars, in order."""

REDUCES = {op["name"]: op["reduces"] for op in _core.list_ops()}
"""What each op has to know of the update as a whole, or None."""

READS_PARAMS = {op["name"] for op in _core.list_ops() if op["params"]}
"""The ops that read the parameters."""


def scalars_of(spec: Spec, correction: Correction) -> list[Scalar]:
    """The scalars of the op of ``spec``, in order, where no control has them."""
    if spec.op is None:
        return []
    derived = _DERIVED.get(spec.op)
    if derived is not None:
        return derived(spec.hyper, correction)
    return [spec.hyper[name] for name in SCALARS[spec.op]]


def step_scalars(spec: Spec) -> _core.Scalars:
    """The scalars of the op of ``spec`` for the core; hyperparameters may be schedules.

    Raises:
        TypeError: A hyperparameter is traced by JAX.
    """
    return _core.Scalars([_curve_of(value) if callable(value) else value for value in _row(spec)])


def scalars_now(spec: Spec) -> _core.Scalars:
    """The same for a single step, for which it does not pay to write schedules down."""
    return _core.Scalars(_row(spec))


def _row(spec: Spec) -> list[Scalar]:
    for name, value in spec.hyper.items():
        if is_traced(value):
            raise TypeError(f"{name} {TRACED}")
    return scalars_of(spec, _core.Correction)


def _curve_of(schedule: Any) -> Any:
    """A schedule as a tape for the core, where it is one of ours; else as it is."""
    if isinstance(schedule, _core.Correction):
        return schedule
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
        TypeError: ``count`` is not a number.

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
    if array.dtype.kind not in "iuf":
        raise TypeError(f"count must be an integer or a float, got dtype {array.dtype}")
    limits: Any = np.finfo if array.dtype.kind == "f" else np.iinfo
    one, top = array.dtype.type(1), array.dtype.type(limits(array.dtype).max)
    more = library.where(array < top, array + one, array)
    return library.asarray(more, dtype=array.dtype)
