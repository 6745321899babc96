"""Validation of arguments: numbers, bools and dtypes."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

import numpy as np

from gradmill._data.arrays import DTYPES, is_float
from gradmill._data.numbers import is_traced
from gradmill._data.tape import Number


def number_of(value: object) -> Any:
    """``value`` as an int or a float where it is a real scalar, and None where it is not.

    It may be of Python, NumPy, ml_dtypes or JAX, a 0-d array, or of any class that converts to
    ``float``; no bool. A scalar that JAX traces, whose value is not known, is returned as it is.
    """
    if isinstance(value, (bool, np.bool_, np.ma.MaskedArray)):
        return None
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    if is_traced(value):
        return value if _is_scalar(value) else None
    return _converted(value)


def _converted(value: Any) -> Any:
    """The number that an array or an object of any class stands for, or None."""
    array = None
    if hasattr(value, "__array__"):
        if getattr(value, "shape", ()) != ():
            return None
        try:
            array = np.asarray(value)
        except Exception:  # noqa: BLE001  (an __array__ may raise anything)
            array = None
    if array is not None:
        if not _is_scalar(array):
            return None
        return int(array) if array.dtype.kind in "iu" else float(array)
    if not hasattr(type(value), "__float__"):
        return None
    try:
        return float(value)
    except Exception:  # noqa: BLE001  (so may a __float__)
        return None


def _is_scalar(array: Any) -> bool:
    """Whether an array has no axes, and a dtype of real numbers; that of bfloat16 has no kind."""
    if array.shape != () or array.dtype == np.bool_:
        return False
    try:
        return np.can_cast(array.dtype, np.float64, "same_kind")
    except TypeError:
        return False


def is_real(value: object) -> bool:
    """Whether ``value`` is a real scalar of any library or class; no bool."""
    return number_of(value) is not None


def is_integer(value: object) -> bool:
    """Whether ``value`` is a real scalar of an integer type."""
    number = number_of(value)
    return isinstance(number, int) or (is_traced(number) and number.dtype.kind in "iu")


def refusal(value: object) -> tuple[str, str]:
    """In words, what was expected and what was given, where ``value`` is not a real scalar."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return "a real number without axes", f"shape {shape}"
    return "a real number", f"{value!r:.80}"


def number(name: str, value: object) -> Any:
    """Return ``value`` as an int or a float; traced, it is returned as it is.

    Raises:
        TypeError: ``value`` is not a real scalar; the message has ``name``.
        ValueError: ``value`` is NaN; the message has ``name``.
    """
    found = number_of(value)
    if found is None:
        wanted, given = refusal(value)
        raise TypeError(f"{name} must be {wanted}, got {given}")
    if isinstance(found, float) and found != found:  # noqa: PLR0124  (a NaN is not itself)
        raise ValueError(f"{name} must be a number, got nan")
    return found


def real(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> float:
    """Return ``value`` as a float that lies between the bounds.

    One that JAX traces, whose value is not known, is returned as it is.

    Raises:
        TypeError: ``value`` is not a real scalar; the message has ``name``.
        ValueError: ``value`` is NaN or out of bounds; the message has ``name``.
    """
    found = number(name, value)
    if is_traced(found):
        if isinstance(found, Number):
            found.tape.within(found, above, at_least, below, at_most)
        return cast("float", found)
    try:
        result = float(found)
    except OverflowError:
        raise ValueError(f"{name} must be within the range of float64") from None
    bounds = {
        f"greater than {above}": above is None or result > above,
        f"at least {at_least}": at_least is None or result >= at_least,
        f"less than {below}": below is None or result < below,
        f"at most {at_most}": at_most is None or result <= at_most,
    }
    missed = [bound for bound, is_met in bounds.items() if not is_met]
    if missed:
        raise ValueError(f"{name} must be {missed[0]}, got {result}")
    return result


def float_dtype(name: str, value: Any) -> np.dtype[Any] | None:
    """Return ``value`` as a dtype, or None.

    Raises:
        TypeError: ``value`` is not a dtype of arrays that kernels take; the message has ``name``.
    """
    if value is None:
        return None
    if isinstance(value, str) and value == "bfloat16":
        import_module("ml_dtypes")  # NumPy knows the name from then on
    dtype: np.dtype[Any] = np.dtype(value)
    if not is_float(dtype):
        raise TypeError(f"{name} must be {DTYPES}, got {dtype}")
    return dtype


def is_bool(value: object) -> bool:
    """Whether ``value`` is a bool, also of NumPy's or of another array library's."""
    if isinstance(value, (bool, np.bool_)):
        return True
    return getattr(value, "ndim", None) == 0 and getattr(value, "dtype", None) == np.bool_


def is_hat(eps_mode: object) -> bool:
    """Whether epsilons stand beside the second moment as it is, and not as it is corrected.

    Raises:
        ValueError: ``eps_mode`` is neither "corrected" nor "hat".
    """
    return choice("eps_mode", eps_mode, "corrected", "hat") == "hat"


def choice(name: str, value: object, *choices: str) -> str:
    """A string that is one of some.

    Raises:
        ValueError: It is not one of them.
    """
    if not (isinstance(value, str) and value in choices):
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}")
    return value
