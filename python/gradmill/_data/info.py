"""Facts about this build."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from gradmill import _core

if TYPE_CHECKING:
    from gradmill._core import _BuildInfo


def build_info() -> _BuildInfo:
    """Facts about this build and how it runs.

    Returns:
        A dict of ``version``, ``profile`` (release or debug), ``simd`` (scalar, avx2 or avx512: the
        best that the machine has, or as ``GRADMILL_SIMD`` says), ``threads``, and ``threads_from``,
        which says where their number comes from.

    Example:
        >>> import gradmill as gm
        >>> sorted(gm.build_info())
        ['profile', 'simd', 'threads', 'threads_from', 'version']
    """
    return _core.build_info()


def warn_if_debug() -> None:
    """Warn where kernels were built without optimisation."""
    if _core.build_info()["profile"] == "debug":
        warnings.warn(
            "this is a debug build of gradmill, many times slower than a release build",
            RuntimeWarning,
            stacklevel=3,
        )
