"""The numbers of a state, as a tape reads and writes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gradmill._data.tape import Number, Tape

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import TransformationLike

Pattern: TypeAlias = Any
"""None for a leaf; else a type, the children, and for a dict its keys and their order."""

Path: TypeAlias = "tuple[Any, ...]"
"""The way from a link's state to a part of it: a field, then a key, then a field there."""

After: TypeAlias = "Callable[[Any], dict[Path, Any]]"
"""What numbers become after the step, given what the op found."""


class Cell(NamedTuple):
    """A number that a state holds.

    Attributes:
        link: The position of the link whose state it is.
        path: The way there.
        kind: "count", "flag", "real", or "number" for a hyperparameter.
        number: Its value in the tape.
        given: The hyperparameter that the factory was given, if it is one.
        dtype: The name of the dtype in which it is to be kept; None for that which it has.
    """

    link: int
    path: Path
    kind: str
    number: Number
    given: float | None = None
    dtype: str | None = None


class Cells(ABC):
    """Where controls write down what they do in each step.

    Attributes:
        tape: The arithmetic.
        cells: The numbers of states that it reads.
    """

    def __init__(self) -> None:
        self.tape = Tape()
        self.cells: list[Cell] = []

    def cell(self, link: int, path: Path, kind: str, **more: Any) -> Number:
        """A number of the state of a link; see :class:`Cell`."""
        number = self.tape.input(np.dtype(np.int32 if kind == "count" else np.float64))
        self.cells.append(Cell(link, path, kind, number, **more))
        return number

    @abstractmethod
    def inject(self, link: int, tx: TransformationLike) -> None:
        """Let the links behind a gate have the hyperparameters of those of ``tx``."""
