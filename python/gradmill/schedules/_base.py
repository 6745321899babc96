from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from gradmill._numbers import HOST, is_traced, namespace_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BuiltinSchedule(ABC):
    """A schedule that also maps an array of counts, as for a plot."""

    @abstractmethod
    def at(self, xp: Any, count: Any) -> Any:
        """Return the value at one count, computed with the functions of ``xp``."""

    @overload
    def __call__(self, count: float) -> float: ...
    @overload
    def __call__(self, count: NDArray[Any]) -> NDArray[np.float64]: ...
    def __call__(self, count: Any) -> Any:
        if isinstance(count, (int, float)):
            return self.at(HOST, count)
        if is_traced(count):
            return self.at(namespace_of(count), count)
        if np.ndim(count) == 0:
            return self.at(HOST, count)
        counts = np.asarray(count)
        return np.array([self.at(HOST, c) for c in counts.ravel().tolist()]).reshape(counts.shape)
