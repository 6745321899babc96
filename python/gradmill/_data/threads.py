"""How many threads a call may use. The number never changes a result."""

from __future__ import annotations

import operator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from gradmill import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

scoped: ContextVar[int] = ContextVar("gradmill_num_threads", default=0)
"""The number in force inside :func:`num_threads`; 0 outside."""

threads_asked = scoped.get
"""Gives that number."""


def set_num_threads(n: int) -> None:
    """Set the number of threads for this process.

    Overrides ``GRADMILL_NUM_THREADS``, ``RAYON_NUM_THREADS`` and the smaller of the affinity mask
    and the cgroup quota, which decide in this order otherwise.

    Args:
        n: At least 1, or 0 to return to the default. No more than 1,024 are used.

    Raises:
        TypeError: ``n`` is not an integer.
        ValueError: ``n`` is negative.

    Example:
        >>> import gradmill as gm
        >>> gm.set_num_threads(1)
        >>> gm.build_info()["threads"], gm.build_info()["threads_from"]
        (1, 'set_num_threads')
        >>> gm.set_num_threads(0)
    """
    _core.set_num_threads(_count(n, 0))


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use ``n`` threads inside a ``with`` block, in the current thread or task alone.

    Args:
        n: At least 1. No more than 1,024 are used.

    Raises:
        TypeError: ``n`` is not an integer.
        ValueError: ``n`` is less than 1.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> with gm.num_threads(1):
        ...     gm.global_norm(np.array([3.0, 4.0]))
        5.0
    """
    token = scoped.set(_count(n, 1))
    try:
        yield
    finally:
        scoped.reset(token)


def _count(n: object, least: int) -> int:
    """An integer that the core takes; it bounds it further."""
    count = operator.index(n)  # type: ignore[arg-type]  # a TypeError is what it is for
    if count < least:
        raise ValueError(f"the number of threads must be at least {least}, got {count}")
    return min(count, 2**31)
