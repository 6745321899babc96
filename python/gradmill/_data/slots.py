"""The arrays of a state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradmill._data.arrays import is_half
from gradmill._data.numbers import library_of


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
