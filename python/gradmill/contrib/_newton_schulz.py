"""Matrices with the same singular vectors and singular values near one."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from gradmill._ops.common import over

Preconditioning: TypeAlias = Literal["frobenius", "spectral", "aol", "schatten"]

_LEAST = 1e-8
"""What the preconditionings of a first iteration take for zero."""


def orthogonal_of(
    xp: Any, x: Any, coeffs: Any, steps: int, preconditioning: Preconditioning, eps: Any
) -> Any:
    """Matrices whose singular values come close to one, by Newton-Schulz iterations."""
    if 0 in x.shape:
        return x
    if x.shape[1] > x.shape[2]:
        turned = orthogonal_of(xp, _turned(xp, x), coeffs, steps, preconditioning, eps)
        return _turned(xp, turned)
    # By a power of two, so that no square is too large or too small and no bit is lost.
    _, power = xp.frexp(xp.max(xp.abs(x), axis=(1, 2), keepdims=True))
    unit = xp.ldexp(xp.ones((), x.dtype), -xp.clip(power, -_TOP, _TOP))
    x, eps, least = x * unit, eps * unit, _LEAST * unit * unit
    if preconditioning == "frobenius":
        x = over(xp, x, _size(xp, x) + eps)
    elif preconditioning == "spectral":
        x = over(xp, x, xp.linalg.norm(x, ord=2, axis=(1, 2), keepdims=True) + eps)
    coeffs = xp.asarray(coeffs, x.dtype)
    for step, (first, second, third) in enumerate(coeffs if coeffs.ndim == 2 else [coeffs] * steps):
        gram = x @ _turned(xp, x)
        if step == 0 and preconditioning in ("aol", "schatten"):
            is_aol = preconditioning == "aol"
            sizes = xp.sum(xp.abs(gram), axis=2, keepdims=True) if is_aol else _size(xp, gram)
            factor = 1 / xp.sqrt(xp.maximum(sizes, least))
            x, gram = x * factor, gram * factor * _turned(xp, factor)
        x = first * x + (second * gram + third * (gram @ gram)) @ x
    return x


_TOP = 100
"""The largest power of two by which matrices are multiplied."""


def _turned(xp: Any, matrices: Any) -> Any:
    return xp.swapaxes(matrices, 1, 2)


def _size(xp: Any, matrices: Any) -> Any:
    return xp.sqrt(xp.sum(matrices * matrices, axis=(1, 2), keepdims=True))
