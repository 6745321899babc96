"""Memory of large arrays, kept for new ones."""

from __future__ import annotations

from gradmill import _core


def clear_cache() -> int:
    """Return the memory that gradmill keeps for new arrays to the operating system.

    The large arrays that ``update`` and ``apply_updates`` return take over the memory of earlier
    ones that are gone, together with all views of them: fresh memory costs more time than most
    chains. What waits never exceeds 64 MiB or twice the memory of the arrays that are in use,
    whichever is larger, so there is seldom a reason to call this.

    Returns:
        The number of bytes given back.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.clear_cache() >= 0
        True
        >>> params = gm.apply_updates(np.ones(100_000), np.ones(100_000))
        >>> gm.clear_cache()
        0
        >>> del params
        >>> gm.clear_cache()
        800000
    """
    return _core.clear_cache()
