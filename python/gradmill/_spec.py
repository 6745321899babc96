"""What a transformation does, as plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradmill._base import GradientTransformation, PyTree, ScalarOrSchedule

Mask: TypeAlias = "PyTree | Callable[..., PyTree]"


@dataclass(frozen=True)
class Slot:
    """A state array that an op owns, one for each leaf, zero at first.

    Attributes:
        name: The field of the state that holds it.
        dtype: Its dtype; None for that of the parameter.
    """

    name: str
    dtype: np.dtype[Any] | None = None


@dataclass(frozen=True)
class Spec:
    """One native transformation.

    Attributes:
        op: The op's name, or None for the identity.
        state: The class of the state, a NamedTuple of ``count`` and the slots, as far as there are.
        hyper: The hyperparameters, by the names that the op's scalars and formula use.
        slots: The state arrays.
    """

    op: str | None
    state: type[Any]
    hyper: Mapping[str, ScalarOrSchedule] = field(default_factory=dict)
    slots: tuple[Slot, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether the state has a step count."""
        return "count" in self.state._fields


@dataclass(frozen=True)
class Masked:
    """A native transformation applied to the leaves where ``mask`` is true."""

    inner: GradientTransformation
    mask: Mask


@dataclass(frozen=True)
class Chained:
    """Transformations one after the other."""

    members: tuple[GradientTransformation, ...]


Description: TypeAlias = Spec | Masked | Chained


def real(name: str, value: object) -> float:
    """Return ``value`` as a float.

    Raises:
        TypeError: ``value`` is no real scalar; the message has ``name``.
    """
    is_number = isinstance(value, (int, float, np.number, np.ndarray)) or hasattr(
        value, "__array__"
    )
    if is_number and not isinstance(value, (bool, np.bool_)):
        array = np.asarray(value)
        if array.ndim == 0 and array.dtype.kind in "iuf":
            return float(array)
    raise TypeError(f"{name} must be a real number, got {value!r}")


def real_or_schedule(name: str, value: object) -> ScalarOrSchedule:
    """Return a function as it is and anything else as a float.

    Raises:
        TypeError: ``value`` is neither; the message has ``name``.
    """
    return value if callable(value) else real(name, value)
