"""Calls of a user's functions with NumPy's warnings turned off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    # What `np.errstate` sets, without the second that a million of those take.
    from numpy._core import umath as _umath

    _state: Any = _umath._extobj_contextvar
    _ignoring: Any = _umath._make_extobj(all="ignore")
except (ImportError, AttributeError):
    _state = None


def quietly(function: Callable[..., Any], count: Any, extra: dict[str, Any]) -> Any:
    """What ``function`` returns; overflows, divisions by zero and the like warn of nothing."""
    if _state is None:
        with np.errstate(all="ignore"):
            return function(count, **extra)
    before = _state.set(_ignoring)
    try:
        return function(count, **extra) if extra else function(count)
    finally:
        _state.reset(before)
