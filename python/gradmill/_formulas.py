"""The definition of every op, in a few lines of array code.

``xp`` is the array namespace: NumPy in float64 makes these the oracle of the tests. Each function
takes the update, the parameter and the op's scalars by name, then its slots, and returns the new
update and the new slots. What an op has to know beside them comes by name as well: ``norm``, the
global norm of the update; ``finite``, whether all updates are; ``axes``, those of a unit where they
are not the usual ones; ``normal``, normally distributed numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

Array = Any


def _over(xp: ModuleType, u: Array, d: Array) -> Array:
    """``u / d``, or zero where ``d`` is zero: a norm of zero is one of zeros."""
    return xp.where(d == 0, 0.0, u / xp.where(d == 0, 1.0, d))


def _root(xp: ModuleType, v: Array, eps_root: Array, eps: Array) -> Array:
    """``sqrt(v + eps_root) + eps``, which is not zero where a square vanished in ``v``.

    The least epsilon changes no bit of the root of a normal number.
    """
    limits = xp.finfo(v.dtype)
    least = float(limits.tiny) ** 0.5 * float(limits.eps) / 8
    return xp.sqrt(v + eps_root) + xp.maximum(eps, least)


def scale(xp: ModuleType, u: Array, p: Array, *, step_size: Array) -> tuple[Array, ...]:
    """Return ``step_size * u``."""
    return (step_size * u,)


def clip(xp: ModuleType, u: Array, p: Array, *, max_delta: Array) -> tuple[Array, ...]:
    """Return ``u`` limited to ``[-max_delta, max_delta]``; NaN stays."""
    return (xp.minimum(xp.maximum(u, -max_delta), max_delta),)


def clip_by_global_norm(
    xp: ModuleType, u: Array, p: Array, *, max_norm: Array, norm: Array
) -> tuple[Array, ...]:
    """Return ``u`` shrunk so that the norm of the whole tree is at most ``max_norm``."""
    return (xp.where(norm < max_norm, u, _over(xp, u, norm) * max_norm),)


def add_decayed_weights(
    xp: ModuleType, u: Array, p: Array, *, weight_decay: Array
) -> tuple[Array, ...]:
    """Return ``u + weight_decay * p``."""
    return (u + weight_decay * p,)


def trace(xp: ModuleType, u: Array, p: Array, trace: Array, *, decay: Array) -> tuple[Array, ...]:
    """Accumulate ``t = u + decay * t`` and return it."""
    trace = u + decay * trace
    return trace, trace


def trace_nesterov(
    xp: ModuleType, u: Array, p: Array, trace: Array, *, decay: Array
) -> tuple[Array, ...]:
    """Accumulate as :func:`trace` and look one step ahead."""
    trace = u + decay * trace
    return u + decay * trace, trace


def _moments(u: Array, mu: Array, nu: Array, b1: Array, b2: Array) -> tuple[Array, Array]:
    return b1 * mu + (1 - b1) * u, b2 * nu + (1 - b2) * u * u


def scale_by_adam(
    xp: ModuleType,
    u: Array,
    p: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    eps_root: Array,
    correction1: Array,
    correction2: Array,
) -> tuple[Array, ...]:
    """Divide the corrected first moment by the root of the corrected second."""
    mu, nu = _moments(u, mu, nu, b1, b2)
    return mu / correction1 / _root(xp, nu / correction2, eps_root, eps), mu, nu


def scale_by_adam_nesterov(
    xp: ModuleType,
    u: Array,
    p: Array,
    mu: Array,
    nu: Array,
    *,
    b1: Array,
    b2: Array,
    eps: Array,
    eps_root: Array,
    correction1: Array,
    correction2: Array,
    correction1_next: Array,
) -> tuple[Array, ...]:
    """As :func:`scale_by_adam` with the first moment of the step to come."""
    mu, nu = _moments(u, mu, nu, b1, b2)
    mu_hat = b1 * mu / correction1_next + (1 - b1) * u / correction1
    return mu_hat / _root(xp, nu / correction2, eps_root, eps), mu, nu


def normalize_by_update_norm(
    xp: ModuleType, u: Array, p: Array, *, scale_factor: Array, eps: Array, norm: Array
) -> tuple[Array, ...]:
    """Return ``u`` over the norm of the whole tree."""
    return (_over(xp, u, norm + eps) * scale_factor,)


def _norm(xp: ModuleType, x: Array, axes: tuple[int, ...] | None = None) -> Array:
    return xp.sqrt(xp.sum(x * x, axis=axes, keepdims=True))


def clip_by_block_rms(xp: ModuleType, u: Array, p: Array, *, threshold: Array) -> tuple[Array, ...]:
    """Return ``u`` shrunk so that its root mean square is at most ``threshold``."""
    rms = _norm(xp, u) / xp.sqrt(xp.asarray(float(u.size)))
    shrunk = _over(xp, u, rms) * threshold
    return (xp.reshape(xp.where(rms <= threshold, u, shrunk), u.shape),)


def scale_by_trust_ratio(
    xp: ModuleType,
    u: Array,
    p: Array,
    *,
    min_norm: Array,
    trust_coefficient: Array,
    eps: Array,
) -> tuple[Array, ...]:
    """Return ``u`` times the norm of ``p`` over its own."""
    u_norm, p_norm = (xp.maximum(_norm(xp, x), min_norm) for x in (u, p))
    zero = (u_norm == 0) | (p_norm == 0)
    ratio = trust_coefficient * p_norm / (xp.where(zero, 1.0, u_norm) + eps)
    return (xp.reshape(u * xp.where(zero, 1.0, ratio), u.shape),)


def _unit_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that lead to one output of a layer with weights of this shape."""
    rank = len(shape)
    if sum(length != 1 for length in shape) <= 1:
        return tuple(range(rank))
    axes = {2: (0,), 3: (0,), 4: (0, 1, 2), 5: (0, 1, 2, 3)}
    if rank not in axes:
        raise ValueError(f"has {rank} axes; say with `axis` which make a unit")
    return axes[rank]


def adaptive_grad_clip(
    xp: ModuleType,
    u: Array,
    p: Array,
    *,
    clipping: Array,
    eps: Array,
    axes: tuple[int, ...] | None = None,
) -> tuple[Array, ...]:
    """Return ``u`` with each unit shrunk to a multiple of the norm of its weights."""
    axes = _unit_axes(u.shape) if axes is None else axes
    u_norm, max_norm = _norm(xp, u, axes), clipping * xp.maximum(_norm(xp, p, axes), eps)
    return (xp.where(u_norm < max_norm, u, u * (max_norm / xp.maximum(u_norm, 1e-6))),)


def centralize(xp: ModuleType, u: Array, p: Array) -> tuple[Array, ...]:
    """Return ``u`` less the mean of each row; vectors and scalars have no rows."""
    if u.ndim < 2:
        return (u,)
    return (u - xp.mean(u, axis=tuple(range(1, u.ndim)), keepdims=True),)


def add_noise(
    xp: ModuleType, u: Array, p: Array, *, std: Array, key0: Array, key1: Array, normal: Array
) -> tuple[Array, ...]:
    """Return ``u + std * normal``."""
    return (u + std * normal,)


def keep_params_nonnegative(xp: ModuleType, u: Array, p: Array) -> tuple[Array, ...]:
    """Return ``u``, or what takes ``p`` to zero where it would become negative."""
    return (xp.where(p + u < 0, -p, u),)


def set_to_zero(xp: ModuleType, u: Array, p: Array) -> tuple[Array, ...]:
    """Return zeros."""
    return (xp.zeros_like(u),)


def zero_nans(xp: ModuleType, u: Array, p: Array) -> tuple[Array, ...]:
    """Return ``u`` with zeros for NaN."""
    return (xp.where(xp.isnan(u), 0.0, u),)


def apply_if_finite(
    xp: ModuleType, u: Array, p: Array, *, accept: Array, finite: Array
) -> tuple[Array, ...]:
    """Return ``u`` if all updates are finite or the others are accepted, else zeros."""
    return (xp.where(finite | (accept != 0), u, 0.0),)


def scale_by_rms(
    xp: ModuleType,
    u: Array,
    p: Array,
    nu: Array,
    *,
    decay: Array,
    eps: Array,
    eps_root: Array,
    correction: Array,
) -> tuple[Array, ...]:
    """Divide by the root of the average square."""
    nu = decay * nu + (1 - decay) * u * u
    return u / _root(xp, nu / correction, eps_root, eps), nu


def scale_by_stddev(
    xp: ModuleType,
    u: Array,
    p: Array,
    mu: Array,
    nu: Array,
    *,
    decay: Array,
    eps: Array,
    eps_root: Array,
    correction: Array,
) -> tuple[Array, ...]:
    """Divide by the standard deviation over time; rounding makes no variance negative."""
    mu, nu = _moments(u, mu, nu, decay, decay)
    nu_hat, square = nu / correction, (mu / correction) ** 2
    none = xp.where(xp.isfinite(nu_hat), 0.0, nu_hat)
    variance = xp.where(nu_hat <= square, none, nu_hat - square)
    return u / _root(xp, variance, eps_root, eps), mu, nu


def ema(
    xp: ModuleType, u: Array, p: Array, ema: Array, *, decay: Array, correction: Array
) -> tuple[Array, ...]:
    """Average over time."""
    ema = decay * ema + (1 - decay) * u
    return ema / correction, ema


def apply_every(
    xp: ModuleType, u: Array, p: Array, grad_acc: Array, *, first: Array, emit: Array
) -> tuple[Array, ...]:
    """Collect a sum and return it in the last step of a round, else zeros."""
    grad_acc = xp.where(first != 0, u, grad_acc + u)
    return xp.where(emit != 0, grad_acc, 0.0), grad_acc


def _collect(xp: ModuleType, old: Array, new: Array, emit: Array, skip: Array) -> tuple[Array, ...]:
    """Return ``new`` and start again if it is handed on; keep ``old`` if the update is skipped."""
    emits = (emit != 0) & (skip == 0)
    kept = xp.where(skip != 0, old, xp.where(emits, 0.0, new))
    return xp.where(emits, new, 0.0), kept


def multi_steps_sum(
    xp: ModuleType,
    u: Array,
    p: Array,
    acc_grads: Array,
    *,
    collected: Array,
    emit: Array,
    skip: Array,
) -> tuple[Array, ...]:
    """Collect a sum and return it in the last step of a round, else zeros."""
    return _collect(xp, acc_grads, acc_grads + u, emit, skip)


def multi_steps_mean(
    xp: ModuleType,
    u: Array,
    p: Array,
    acc_grads: Array,
    *,
    collected: Array,
    emit: Array,
    skip: Array,
) -> tuple[Array, ...]:
    """Collect a mean and return it in the last step of a round, else zeros."""
    mean = acc_grads + (u - acc_grads) / (collected + 1)
    return _collect(xp, acc_grads, mean, emit, skip)


FORMULAS: dict[str, Callable[..., tuple[Array, ...]]] = {
    formula.__name__: formula
    for formula in (
        scale,
        clip,
        clip_by_global_norm,
        normalize_by_update_norm,
        clip_by_block_rms,
        adaptive_grad_clip,
        scale_by_trust_ratio,
        centralize,
        add_decayed_weights,
        add_noise,
        keep_params_nonnegative,
        set_to_zero,
        zero_nans,
        apply_if_finite,
        scale_by_adam,
        scale_by_adam_nesterov,
        scale_by_rms,
        scale_by_stddev,
        trace,
        trace_nesterov,
        ema,
        apply_every,
        multi_steps_sum,
        multi_steps_mean,
    )
}
"""The formula of each op, by its name."""
