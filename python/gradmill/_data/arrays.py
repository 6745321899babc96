"""Conversion of inputs to the arrays that kernels need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.numbers import TRACED, is_traced

if TYPE_CHECKING:
    from collections.abc import Iterable

DTYPES = "float16, bfloat16, float32 or float64"
"""What kernels take, in words."""


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether ``dtype`` is float16 or bfloat16, which comes with the package ml_dtypes."""
    return dtype == np.float16 or dtype.name == "bfloat16"


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether kernels take arrays of ``dtype``."""
    return dtype in (np.dtype(np.float32), np.dtype(np.float64)) or is_half(dtype)


def widest(leaves: Iterable[Any]) -> np.dtype[Any]:
    """The widest dtype of floats among leaves, and at least float32."""
    given = [leaf for leaf in leaves if leaf is not None]
    dtypes = {leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype for leaf in given}
    native = [dtype.newbyteorder("=") for dtype in dtypes if getattr(dtype, "kind", "") == "f"]
    return np.result_type(np.float32, *filter(is_float, native))


def as_array(value: object) -> np.ndarray[Any, Any]:
    """Return ``value`` as a NumPy array, a view where possible.

    Raises:
        TypeError: There is none. The message continues a leaf's path, and says what to do.
    """
    kind = type(value).__name__
    if value is None:
        raise TypeError("is None, expected an array")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("is a masked array, whose mask would be lost; pass filled() or data")
    if is_traced(value):
        raise TypeError(TRACED)
    if getattr(value, "requires_grad", False) is True:
        raise TypeError(f"is a {kind} that requires grad; pass p.detach().numpy()")
    try:
        return np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:
        raise TypeError(f"is a {kind}, not an array: {error!s:.200}") from error


def as_native(value: object) -> np.ndarray[Any, Any]:
    """Return ``value`` as an aligned array of floats in native byte order.

    Python numbers, NumPy scalars and anything that offers an array is taken; a view where
    possible, a copy otherwise.

    Raises:
        TypeError: ``value`` is no such array. The message continues a leaf's path.
    """
    if isinstance(value, tuple):
        raise TypeError(f"is a {type(value).__name__}, expected an array")
    array = as_array(value)
    # Dtypes that are no numbers may have no byte order to ask for.
    native = array.dtype.newbyteorder("=") if array.dtype.kind in "fV" else array.dtype
    if not is_float(native):
        kind = type(value).__name__ if array.dtype.kind == "O" else f"dtype {array.dtype}"
        raise TypeError(f"{kind}, expected {DTYPES}")
    if array.dtype != native or not array.flags.aligned:
        return array.astype(native)
    if any(stride % array.itemsize for stride in array.strides):
        return array.copy()
    return array


def plain_view(value: object) -> object:
    """The same memory as a plain array where ``value`` is of a subclass, such as a memmap."""
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray):
        return np.asarray(value)
    return value


def is_discrete(leaf: object) -> bool:
    """Whether a leaf is of integers, bools, strings or times, which have no gradients."""
    dtype = getattr(leaf, "dtype", None)
    return isinstance(leaf, int | str | bytes) or getattr(dtype, "kind", "") in set("biuSUmM")
