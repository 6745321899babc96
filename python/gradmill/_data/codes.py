"""Numbers in 8 bits each, in groups that share a scale: the same codes as the core's.

Here for arrays of any library; the core has them in its loops. The two agree bit by bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from gradmill._data.numbers import library_of

if TYPE_CHECKING:
    from collections.abc import Callable

Coding: TypeAlias = Literal["signed", "square"]
"""What codes stand for: numbers of either sign, or means of squares."""

GROUP = 32
"""How many numbers share a scale."""

_KINDS: dict[str, Coding] = {"int8": "signed", "uint8": "square"}
_DTYPES = {coding: dtype for dtype, coding in _KINDS.items()}
_MOST = {"signed": 127.0, "square": 31.0 / 16.0}
_ROUNDS = np.float32(12_582_912.0)
_SHIFT, _LEAST, _SIZE, _INFINITE = 19, (127 - 15) << 23, 0x7FFF_FFFF, 0x7F80_0000
_DROPPED = 0x7F
_LEAST_SCALE = np.float32(2.0**-107)


class Quantized(NamedTuple):
    r"""Numbers of a state in 8 bits each.

    Each 32 neighbours, row by row, share a scale :math:`s`. Codes of int8 stand for
    :math:`c \cdot s`. Codes of uint8, for means of squares, stand for
    :math:`2^{e - 15} (1 + m / 16) \cdot s`, with :math:`e` in the upper four bits and :math:`m` in
    the lower ones. A group that has a number that is not finite is NaN.

    Attributes:
        codes: int8 or uint8, of the shape of the parameter.
        scale: float32, one for each group, of which the last may have fewer numbers.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> tx = gm.quantized_state(gm.trace(0.9), min_size=0)
        >>> _, state = tx.update(np.array([1.0, -0.5]), tx.init(np.zeros(2)))
        >>> state.trace.codes
        array([127, -64], dtype=int8)
        >>> gm.dequantize_state(state).trace.round(3)
        array([ 1.   , -0.504], dtype=float32)
    """

    codes: Any
    scale: Any


def is_quantized(leaf: object) -> bool:
    """Whether a leaf of a state is in codes."""
    return type(leaf) is Quantized


def decoded(leaf: Any) -> Any:
    """A leaf in float32 where it is in codes, else as it is."""
    if type(leaf) is not Quantized:
        return leaf
    xp, (codes, scale) = library_of(leaf.codes), leaf
    coding = _KINDS[str(codes.dtype)]
    groups, bits = _groups(xp, codes), _as(xp, xp.float32)
    if coding == "signed":
        values = groups.astype(xp.float32)
    else:
        values = bits((groups.astype(xp.uint32) << _SHIFT) + xp.uint32(_LEAST))
    with np.errstate(invalid="ignore"):
        values = values * scale[:, None]
    return values.reshape(-1)[: codes.size].reshape(codes.shape)


def encoded(array: Any, coding: Coding) -> Quantized:
    """An array in codes, by way of float32."""
    xp = library_of(array)
    words, floats = _as(xp, xp.uint32), _as(xp, xp.float32)
    with np.errstate(all="ignore"):
        groups = _groups(xp, xp.asarray(array, xp.float32))
        largest = (words(groups) & xp.uint32(_SIZE)).max(axis=1)
        exact = floats(largest) * xp.float32(np.float32(1.0) / np.float32(_MOST[coding]))
        rounded = floats((words(exact) + xp.uint32(64)) & xp.uint32(~_DROPPED & 0xFFFF_FFFF))
        scale = xp.where(rounded < _LEAST_SCALE, xp.float32(0), rounded)
        factor = xp.float32(1) / xp.where(scale == 0, xp.float32(1), scale)
        is_finite = largest < xp.uint32(_INFINITE)
        scaled = groups * factor[:, None]
        if coding == "signed":
            codes = words(scaled + _ROUNDS)
        else:
            half = xp.uint32(1 << _SHIFT - 1)
            codes = xp.maximum(words(scaled) + half, xp.uint32(_LEAST)) >> _SHIFT
        codes = xp.where(is_finite[:, None], codes & xp.uint32(0xFF), xp.uint32(0))
        scale = xp.where(is_finite, scale, xp.float32(np.nan))
    codes = codes.reshape(-1)[: array.size].reshape(array.shape).astype(xp.uint8)
    return Quantized(_as(xp, xp.dtype(_DTYPES[coding]))(codes), scale)


def stored_as(old: Any, new: Any) -> Any:
    """``new`` in codes, where ``old`` is."""
    return encoded(new, _KINDS[str(old.codes.dtype)]) if type(old) is Quantized else new


def _groups(xp: Any, array: Any) -> Any:
    """The numbers of an array in rows of groups, with zeros behind the last."""
    flat = array.reshape(-1)
    return xp.pad(flat, (0, -flat.size % GROUP)).reshape(-1, GROUP)


def _as(xp: Any, dtype: Any) -> Callable[[Any], Any]:
    """Gives the bits of an array as one of another dtype of the same width."""
    return lambda array: xp.asarray(array).view(dtype)
