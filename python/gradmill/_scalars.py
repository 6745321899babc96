"""The numbers of one step, all in float64: learning rates, corrections, counts.

A correction is ``1 - b**t`` with the power by repeated multiplication. In float32, where optax has
it, ``1 - 0.999`` loses five digits; here a first step of Adam is the sign of the gradient to within
a rounding. A scalar is rounded to the leaf's dtype once, after all arithmetic among scalars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradmill import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradmill._spec import Spec

_INT32 = np.dtype(np.int32)
COUNT_MAX = int(np.iinfo(_INT32).max)

Scalar: TypeAlias = "float | Callable[[int], float]"
"""A number, or a function of the number of steps taken."""


def _adam(hyper: Mapping[str, Any]) -> list[Scalar]:
    b1, b2, eps, eps_root = (hyper[name] for name in ("b1", "b2", "eps", "eps_root"))
    return [b1, b2, eps, eps_root, _core.Correction(b1), _core.Correction(b2)]


def _adam_nesterov(hyper: Mapping[str, Any]) -> list[Scalar]:
    return [*_adam(hyper), _core.Correction(hyper["b1"], 2)]


def _rms(hyper: Mapping[str, Any]) -> list[Scalar]:
    decay, eps, eps_root = (hyper[name] for name in ("decay", "eps", "eps_root"))
    correction = _core.Correction(decay) if hyper["bias_correction"] else 1.0
    return [decay, eps, eps_root, correction]


def _ema(hyper: Mapping[str, Any]) -> list[Scalar]:
    decay = hyper["decay"]
    return [decay, _core.Correction(decay) if hyper["debias"] else 1.0]


_DERIVED: dict[str, Callable[[Mapping[str, Any]], list[Scalar]]] = {
    "scale_by_adam": _adam,
    "scale_by_adam_nesterov": _adam_nesterov,
    "scale_by_rms": _rms,
    "scale_by_stddev": _rms,
    "ema": _ema,
}

SCALARS = {op["name"]: tuple(op["scalars"]) for op in _core.list_ops()}
"""The names of each op's scalars, in order."""

LOOKS_FOR = {op["name"]: op["reduces"] for op in _core.list_ops()}
"""What each op has to know of the update as a whole, or None."""


def step_scalars(spec: Spec) -> _core.Scalars:
    """The scalars of ``spec``, in its op's order; hyperparameters may be schedules."""
    if spec.op is None:
        return _core.Scalars([])
    derived = _DERIVED.get(spec.op)
    if derived is not None:
        return _core.Scalars(derived(spec.hyper))
    return _core.Scalars([spec.hyper[name] for name in SCALARS[spec.op]])


def next_count(count: Any) -> int:
    """The count of the step behind that with ``count``; it stays at the largest one."""
    dtype = getattr(count, "dtype", _INT32)
    top = COUNT_MAX if dtype == _INT32 else min(COUNT_MAX, int(np.iinfo(dtype).max))
    return min(int(count) + 1, top)


def safe_increment(count: Any) -> np.ndarray[Any, Any]:
    """Add one, or stay at the largest value of the dtype.

    Args:
        count: A 0-d array or scalar of an integer or float dtype.

    Returns:
        A 0-d array of the same dtype.

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
    array = np.asarray(count)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"count must be an integer or a float, got dtype {array.dtype}")
    top = np.finfo(array.dtype).max if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    return np.asarray(np.where(array < top, array + array.dtype.type(1), array), dtype=array.dtype)
