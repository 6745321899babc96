"""Arithmetic that formulas share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradmill import _core
from gradmill._data.numbers import is_traced

Array = Any


def over(xp: Any, u: Array, d: Array) -> Array:
    """``u / d``, or zero where ``d`` is zero: a norm of zero is one of zeros."""
    return xp.where(d == 0, 0.0, u / xp.where(d == 0, 1.0, d))


def root(xp: Any, v: Array, eps_root: Array, eps: Array) -> Array:
    """``sqrt(v + eps_root) + eps``, which is not zero where a square vanished in ``v``.

    The least epsilon changes no bit of the root of a normal number.
    """
    return xp.sqrt(v + eps_root) + positive(xp, eps, v.dtype)


def positive(xp: Any, eps: Array, dtype: Any) -> Array:
    """``eps``, or the least number that stands for it where it is zero; see :func:`root`."""
    limits = xp.finfo(dtype)
    least = float(limits.tiny) ** 0.5 * float(limits.eps) / 8
    return xp.maximum(eps, least) if is_traced(eps) else max(eps, least)


def average(decay: Array, old: Array, new: Array) -> Array:
    """``decay * old + (1 - decay) * new``."""
    return decay * old + (1 - decay) * new


def sign(xp: Any, x: Array) -> Array:
    """-1, 0 or 1; what is subnormal is zero, as it is in kernels."""
    return xp.sign(xp.where(xp.abs(x) < xp.finfo(x.dtype).tiny, 0.0, x))


def if_first(count: Any, first: Any, later: Any) -> Any:
    """``first`` in a step before which there was none, else ``later``."""
    if is_traced(count):
        return count.__array_namespace__().where(count == 0, first, later)
    return first if count == 0 else later


def correction(decay: Any, count: Any) -> Any:
    """``1 - decay**count``, what an average that started at zero has collected of its weights.

    On the host the power is formed by repeated multiplication in float64. In a JAX program it
    does not cancel: a logarithm in float32 would cost five digits of those near 1.
    """
    if not (is_traced(decay) or is_traced(count)):
        return _core.bias_correction(float(decay), int(count))
    xp = (count if is_traced(count) else decay).__array_namespace__()
    # The largest count and one are no int32.
    steps = count * 1.0
    if isinstance(decay, float):
        return -xp.expm1(steps * math.log(decay)) if decay > 0 else 1 - decay**steps
    positive = xp.where(decay > 0, decay, 1)
    return xp.where(decay > 0, -xp.expm1(steps * xp.log(positive)), 1 - decay**steps)


def correction_if(corrects: Any, decay: Array, count: Any) -> Any:
    """:func:`correction`, or one where nothing is corrected."""
    return correction(decay, count) if corrects else 1.0


def corrected_root(xp: Any, v: Array, share: Any, eps_root: Array, eps: Array, hat: Any) -> Array:
    """:func:`root` of ``v / share``; with ``hat`` that of ``v``, over the root of ``share``."""
    return root(xp, v, eps_root, eps) / share**0.5 if hat else root(xp, v / share, eps_root, eps)


def adams_corrections(b1: Any, b2: Any, count: Any) -> Any:
    """What both corrections of Adam's make of a learning rate, in the step behind ``count``."""
    return correction(b2, count + 1.0) ** 0.5 / correction(b1, count + 1.0)


def lookahead(corrects: Any, b1: Array, mu: Array, u: Array, count: Any) -> Array:
    """The corrected first moment of the step to come, were its update ``u`` as well."""
    ahead = b1 * mu / correction_if(corrects, b1, count + 2.0)
    return ahead + (1 - b1) * u / correction_if(corrects, b1, count + 1.0)


def norm(xp: Any, x: Array, axes: tuple[int, ...] | None = None) -> Array:
    """The root of the sum of squares over some axes, which stay with a length of one."""
    return xp.sqrt(xp.sum(x * x, axis=axes, keepdims=True))


def total(xp: Any, x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """A sum over some axes or all of them, by NumPy in float64."""
    return xp.sum(x, axis=axis, dtype=xp.float64 if xp is np else None)
