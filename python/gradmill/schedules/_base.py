from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from gradmill._data.arrays import is_half
from gradmill._data.numbers import HOST, is_foreign, is_traced, library_of, namespace_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class BuiltinSchedule(ABC):
    """A schedule that also maps an array of counts, as for a plot, and counts of JAX."""

    # Another one where hyperparameters are traced: then so is the value at a number.
    xp = HOST
    _made_by = None

    def __init_subclass__(cls) -> None:
        # Before the dataclass writes one of its own.
        cls.__repr__ = BuiltinSchedule.__repr__  # type: ignore[method-assign]  # a class takes it for its own

    def __repr__(self) -> str:
        """Return the code that makes it."""
        return object.__repr__(self) if self._made_by is None else str(self._made_by)

    def __getstate__(self) -> dict[str, Any]:
        """Hand over the fields, and the call that made it as text: it may not pickle."""
        made_by = None if self._made_by is None else str(self._made_by)
        return {**vars(self), "_made_by": made_by}

    @property
    def has_own_parts(self) -> bool:
        """Whether all schedules that it is made of are this package's."""
        return True

    def __post_init__(self) -> None:
        # Not `vars`, which makes a dict, and with it every later access slower.
        for field in fields(self):
            value = getattr(self, field.name)
            if is_traced(value):
                object.__setattr__(self, "xp", namespace_of(value))

    @abstractmethod
    def at(self, xp: Any, count: Any) -> Any:
        """Return the value at one count, computed with the functions of ``xp``."""

    @overload
    def __call__(self, count: float) -> float: ...
    @overload
    def __call__(self, count: NDArray[Any]) -> NDArray[np.float64]: ...
    def __call__(self, count: Any) -> Any:
        if isinstance(count, (int, float)):
            return self.at(self.xp, count)
        if is_foreign(count):
            xp = library_of(count)
            value = self.at(xp, count)
            return xp.broadcast_to(value, count.shape) if count.ndim else value
        counts = _widened(np.asarray(count))
        if counts.ndim == 0:
            return self.at(self.xp, counts[()])
        return np.array([self.at(HOST, c) for c in counts.ravel().tolist()]).reshape(counts.shape)


def _widened(counts: NDArray[Any]) -> NDArray[Any]:
    """Counts in 64 bits; of an unsigned 2 and 5 the difference would be 253."""
    if counts.dtype.kind in "iu":
        return counts.astype(np.int64, copy=False)
    is_float = counts.dtype.kind == "f" or is_half(counts.dtype)
    return counts.astype(np.float64, copy=False) if is_float else counts


def is_own(schedule: object) -> bool:
    """Whether a schedule is this package's through and through: then it takes ints for counts."""
    # Not `isinstance`, which an abstract class answers slowly.
    if BuiltinSchedule not in type(schedule).__mro__:
        return False
    return cast("BuiltinSchedule", schedule).has_own_parts
