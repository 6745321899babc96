"""What a transformation does, as plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from gradmill._arrays import DTYPES, is_float, is_half
from gradmill._numbers import is_traced, library_of
from gradmill._tape import Number

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from gradmill._base import PyTree, ScalarOrSchedule, TransformationLike
    from gradmill._control import Control

Mask: TypeAlias = "PyTree | Callable[..., PyTree]"


@dataclass(frozen=True)
class Slot:
    """A state array that an op owns, one for each leaf.

    Attributes:
        name: The field of the state that holds it.
        dtype: Its dtype; None for the parameter's own, or float32 where that is of half precision.
        at_least: A dtype that its own is promoted with.
        fill: The value of all elements at first.
    """

    name: str
    dtype: np.dtype[Any] | None = None
    at_least: np.dtype[Any] | None = None
    fill: float = 0.0

    def first(self, array: Any) -> Any:
        """The slot of the parameter ``array`` at first, of the same library and in C order."""
        # State of half precision stops moving: its steps are too small to count.
        dtype = self.dtype or (np.dtype(np.float32) if is_half(array.dtype) else array.dtype)
        if self.at_least is not None:
            dtype = np.promote_types(dtype, self.at_least)
        library = library_of(array)
        if library is np:
            # Row by row whatever the parameter is: what saves a state may know no other order.
            if self.fill:
                return np.full(array.shape, self.fill, dtype)
            # Zeros are pages that the system hands out when they are touched.
            return np.zeros(array.shape, dtype)
        if self.fill:
            return library.full_like(array, self.fill, dtype=dtype)
        return library.zeros_like(array, dtype=dtype)


@dataclass(frozen=True)
class Spec:
    """One native transformation.

    Attributes:
        op: The op's name, or None for one that changes no update by itself.
        state: The class of the state, a NamedTuple of the slots and of what the host keeps, such as
            ``count``.
        hyper: The hyperparameters, by the names that the op's scalars and formula use.
        slots: The state arrays.
        axes: The axes of a unit, where the op has units and these are not its usual ones.
        control: What the host does in each step; None where all it does is to count steps.
    """

    op: str | None
    state: type[Any]
    hyper: Mapping[str, ScalarOrSchedule] = field(default_factory=dict)
    slots: tuple[Slot, ...] = ()
    axes: tuple[int, ...] | None = None
    control: Control | None = None

    @property
    def counts(self) -> bool:
        """Whether all that the host does is to count steps."""
        return self.control is None and "count" in self.state._fields


@dataclass(frozen=True)
class Masked:
    """A transformation applied to the leaves where ``mask`` is true.

    With ``masks_extra``, extra arguments that are trees like the updates are masked as well.
    """

    inner: TransformationLike
    mask: Mask
    masks_extra: bool = False


@dataclass(frozen=True)
class Chained:
    """Transformations one after the other, by position or by name."""

    members: tuple[TransformationLike, ...]
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Partitioned:
    """For each label the transformation of the leaves that bear it."""

    members: Mapping[Hashable, TransformationLike]
    labels: Labels
    masks_extra: bool = False


@dataclass(frozen=True)
class Gated:
    """A transformation that ``spec`` lets run, or not, step by step.

    Attributes:
        spec: The gate, whose state holds that of ``inner`` in ``field``.
        inner: The transformation behind it.
        field: The name of the field.
    """

    spec: Spec
    inner: TransformationLike
    field: str


@dataclass(frozen=True)
class Labels:
    """The label of each leaf.

    Attributes:
        source: A tree of labels with the structure of the parameters or of its upper part, a
            function of the tree that returns one, or a function of path and leaf that returns a
            label.
        known: The labels that there may be.
        by_choice: Whether ``source`` returns a choice among transformations: a bool, where true is
            the first of two, or a position.
    """

    source: Any
    known: tuple[Hashable, ...]
    by_choice: bool = False


@dataclass(frozen=True)
class LabelMask:
    """Selects the leaves that bear ``label``."""

    labels: Labels
    label: Hashable


@dataclass(frozen=True)
class Flattened:
    """A transformation of all leaves joined to one vector. Here it runs in Python."""

    inner: TransformationLike


Description: TypeAlias = Spec | Masked | Chained | Partitioned | Gated | Flattened


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
    """Whether ``value`` is a real scalar, as :func:`number_of` has it."""
    return number_of(value) is not None


def is_integer(value: object) -> bool:
    """Whether ``value`` is a real scalar of an integer type."""
    number = number_of(value)
    return isinstance(number, int) or (is_traced(number) and number.dtype.kind in "iu")


def refusal(value: object) -> tuple[str, str]:
    """In words, what was expected and what was given, where ``value`` is no real scalar."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return "a real number without axes", f"shape {shape}"
    return "a real number", f"{value!r:.80}"


def number(name: str, value: object) -> Any:
    """Return ``value`` as an int or a float; traced, it is returned as it is.

    Raises:
        TypeError: ``value`` is no real scalar; the message has ``name``.
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
        TypeError: ``value`` is no real scalar; the message has ``name``.
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
        TypeError: ``value`` is no dtype of arrays that kernels take; the message has ``name``.
    """
    if value is None:
        return None
    if isinstance(value, str) and value == "bfloat16":
        import_module("ml_dtypes")  # NumPy knows the name from then on
    dtype: np.dtype[Any] = np.dtype(value)
    if not is_float(dtype):
        raise TypeError(f"{name} must be {DTYPES}, got {dtype}")
    return dtype
