"""The dtype in which leaves and numbers meet: JAX's rules, with NumPy's defaults for numbers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.arrays import is_half

if TYPE_CHECKING:
    from collections.abc import Iterable

DType = np.dtype[Any]

_NUMBERS: dict[type, DType] = {
    kind: np.dtype(default)
    for kind, default in ((bool, np.bool_), (int, np.int64), (float, np.float64), (complex, "c16"))
}
"""Python's numbers and the dtype of each where there is not an array beside it."""


def is_number(value: object) -> bool:
    """Whether ``value`` is a number of Python's own, which takes on the dtype of an array."""
    return type(value) in _NUMBERS


def is_exact(dtype: DType) -> bool:
    """Whether ``dtype`` is one of integers or bools."""
    return dtype.kind in "biu"


@lru_cache(maxsize=256)
def is_numeric(dtype: DType) -> bool:
    """Whether arrays of ``dtype`` are numbers."""
    return dtype.kind in "biufc" or is_half(dtype)


def common(dtypes: Iterable[DType]) -> DType:
    """The dtype in which arrays of these meet; beside floats of any width integers do not count."""
    given = {dtype.newbyteorder("=") for dtype in dtypes}
    inexact = {dtype for dtype in given if not is_exact(dtype)}
    if len(inexact) > 1:
        # The two kinds of half precision have no dtype in common but this one.
        inexact = {np.dtype(np.float32) if is_half(dtype) else dtype for dtype in inexact}
    return np.result_type(*(inexact or given))


@lru_cache(maxsize=256)
def meeting(arrays: tuple[DType, ...], numbers: tuple[type, ...]) -> DType:
    """The dtype in which arrays meet numbers of Python's, which widen none of the same kind."""
    defaults = [_NUMBERS[kind] for kind in numbers]
    if not arrays:
        return common(defaults)
    dtype = common(arrays)
    for default in defaults:
        if _rank(default) > _rank(dtype):
            is_narrow = default.kind == "c" and not is_exact(dtype) and dtype.itemsize <= 4
            dtype = np.dtype(np.complex64) if is_narrow else default
    return dtype


def _rank(dtype: DType) -> int:
    return {"b": 0, "i": 1, "u": 1, "c": 3}.get(dtype.kind, 2)


@lru_cache(maxsize=256)
def computing(dtype: DType) -> DType:
    """The dtype to compute in: float32 in place of half precision."""
    return np.dtype(np.float32) if is_half(dtype) else dtype


def real_of(dtype: DType) -> DType:
    """The dtype of the parts of a complex number, or that of a real one itself."""
    return np.zeros((), dtype).real.dtype if dtype.kind == "c" else dtype
