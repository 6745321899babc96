"""The arrays of a state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from gradmill._data.arrays import is_half
from gradmill._data.numbers import library_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.codes import Coding

Start: TypeAlias = "float | Literal['params'] | Callable[[Any, Any, Any], Any]"
"""How the arrays of a slot begin; see :class:`Slot`."""


@dataclass(frozen=True)
class Slot:
    """A state array that an op owns, one for each leaf.

    Attributes:
        name: The field of the state that holds it.
        dtype: Its dtype; None for the parameter's own, or float32 where that is of half precision.
        at_least: A dtype that its own is promoted with.
        start: Its first value: a number for all elements, ``"params"`` for the parameter's own, or
            a function of the array library, the parameter and the dtype that makes an array, which
            may have another shape, or a ValueError where the parameter's has no such slot.
        where: Whether parameters of a shape have it; the others have a zero in its place. None for
            all of them.
        coding: What its codes stand for where it is stored in 8 bits; None for one that never is.
    """

    name: str
    dtype: np.dtype[Any] | None = None
    at_least: np.dtype[Any] | None = None
    start: Start = 0.0
    where: Callable[[tuple[int, ...]], bool] | None = None
    coding: Coding | None = None

    @property
    def is_like_leaf(self) -> bool:
        """Whether it has the shape of the parameter."""
        return not callable(self.start)

    def is_like(self, shape: tuple[int, ...]) -> bool:
        """Whether that of a parameter of this shape has its shape."""
        return self.is_like_leaf and (self.where is None or self.where(shape))

    def first(self, array: Any) -> Any:
        """The slot of the parameter ``array`` at first, of the same library and in C order."""
        # State of half precision stops moving: its steps are too small to count.
        dtype = self.dtype or (np.dtype(np.float32) if is_half(array.dtype) else array.dtype)
        if self.at_least is not None:
            dtype = np.promote_types(dtype, self.at_least)
        library, start = library_of(array), self.start
        if self.where is not None and not self.where(array.shape):
            return library.zeros((1,), dtype)
        if callable(start):
            return start(library, array, dtype)
        if library is np:
            # Row by row whatever the parameter is: what saves a state may know no other order.
            if start == "params":
                return _normal(np.array(array, dtype, order="C"))
            # Zeros are pages that the system hands out when they are touched.
            return np.full(array.shape, start, dtype) if start else np.zeros(array.shape, dtype)
        if start == "params":
            return library.array(array, dtype)
        full: Any = library.full_like(array, start, dtype=dtype)
        return full


def _normal(array: Any) -> Any:
    """``array`` with zeros for what is subnormal, as kernels would read it."""
    if array.dtype.kind == "f" and not is_half(array.dtype):
        small = np.abs(array) < np.finfo(array.dtype).tiny
        np.multiply(array, 0, out=array, where=small)
    return array
