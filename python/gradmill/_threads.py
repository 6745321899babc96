"""How many threads a call may use. The number never changes a result."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from gradmill import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

scoped: ContextVar[int] = ContextVar("gradmill_num_threads", default=0)
"""The number in force inside :func:`num_threads`; 0 outside."""


def set_num_threads(n: int) -> None:
    """Set the number of threads for this process.

    Overrides ``GRADMILL_NUM_THREADS``, ``RAYON_NUM_THREADS`` and the smaller of the affinity mask
    and the cgroup quota, which decide in this order otherwise.

    Args:
        n: At least 1, or 0 to return to the default.

    Raises:
        ValueError: ``n`` is negative.

    Example:
        >>> import gradmill as gm
        >>> gm.set_num_threads(1)
        >>> gm.build_info()["threads"], gm.build_info()["threads_from"]
        (1, 'set_num_threads')
        >>> gm.set_num_threads(0)
    """
    if n < 0:
        raise ValueError(f"the number of threads must not be negative, got {n}")
    _core.set_num_threads(n)


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use ``n`` threads inside a ``with`` block, in the current thread or task alone.

    Args:
        n: At least 1.

    Raises:
        ValueError: ``n`` is less than 1.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> with gm.num_threads(1):
        ...     gm.global_norm(np.array([3.0, 4.0]))
        5.0
    """
    if n < 1:
        raise ValueError(f"the number of threads must be at least 1, got {n}")
    token = scoped.set(n)
    try:
        yield
    finally:
        scoped.reset(token)
