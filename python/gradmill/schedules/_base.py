from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def power(base: float, exponent: float) -> float:
    """``base`` to the power of ``exponent``, where zero to a negative one is infinity."""
    return math.inf if base == 0 and exponent < 0 else math.pow(base, exponent)


class BuiltinSchedule(ABC):
    """A schedule that also maps an array of counts, as for a plot."""

    @abstractmethod
    def at(self, count: float) -> float:
        """Return the value at one count."""

    @overload
    def __call__(self, count: float) -> float: ...
    @overload
    def __call__(self, count: NDArray[Any]) -> NDArray[np.float64]: ...
    def __call__(self, count: Any) -> Any:
        if isinstance(count, (int, float)) or np.ndim(count) == 0:
            return self.at(count)
        counts = np.asarray(count)
        return np.array([self.at(c) for c in counts.ravel().tolist()]).reshape(counts.shape)
