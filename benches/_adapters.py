"""What is timed of an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from _settings import Step


@dataclass(frozen=True)
class Row:
    """Something that a program does, with its own optimizer and with ours.

    Attributes:
        program: The program.
        what: What it does.
        make: Makes the two when they are timed, on arrays of their own.
        least: What the time of the first over that of the second is to be at least.
    """

    program: str
    what: str
    make: Callable[[], tuple[Step, Step]]
    least: float
