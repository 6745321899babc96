"""What a transformation does, as plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from gradmill._arrays import DTYPES, is_float, is_half
from gradmill._numbers import is_traced, library_of

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


def is_real(value: object) -> bool:
    """Whether ``value`` is a real scalar: a number or a 0-d array of numbers, but no bool."""
    if isinstance(value, (bool, np.bool_)):
        return False
    if is_traced(value):
        array: Any = value
    elif isinstance(value, (int, float, np.number, np.ndarray)) or hasattr(value, "__array__"):
        array = np.asarray(value)
    else:
        return False
    return bool(array.ndim == 0 and array.dtype.kind in "iuf")


def is_integer(value: object) -> bool:
    """Whether ``value`` is an integer scalar, but no bool."""
    if not is_real(value):
        return False
    array: Any = value if is_traced(value) else np.asarray(value)
    return bool(array.dtype.kind in "iu")


def real(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
) -> float:
    """Return ``value`` as a float that lies between the bounds.

    One that JAX traces, whose value is not known, is returned as it is.

    Raises:
        TypeError: ``value`` is no real scalar; the message has ``name``.
        ValueError: ``value`` is NaN or out of bounds; likewise.
    """
    if not is_real(value):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    try:
        number = float(np.asarray(value))
    except TypeError:
        return cast("float", value)
    bounds = {
        f"greater than {above}": above is None or number > above,
        f"at least {at_least}": at_least is None or number >= at_least,
        f"less than {below}": below is None or number < below,
        "a number": number == number,  # noqa: PLR0124  (a NaN is not)
    }
    missed = [bound for bound, is_met in bounds.items() if not is_met]
    if missed:
        raise ValueError(f"{name} must be {missed[0]}, got {number}")
    return number


def real_or_schedule(name: str, value: object) -> ScalarOrSchedule:
    """Return a function as it is and anything else as a float.

    Raises:
        TypeError: ``value`` is neither; the message has ``name``.
    """
    return value if callable(value) else real(name, value)


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
