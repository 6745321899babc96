"""The definition of every op, in a few lines of array code.

``xp`` is the array namespace: NumPy in float64 makes these the oracle of the tests. Each function
takes the update, the parameter and the op's scalars by name, then its slots, and returns the new
update and the new slots. An op that reduces also gets ``norm``, the global norm of the update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

Array = Any


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
    return (xp.where(norm < max_norm, u, u / norm * max_norm),)


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
    return mu / correction1 / (xp.sqrt(nu / correction2 + eps_root) + eps), mu, nu


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
    return mu_hat / (xp.sqrt(nu / correction2 + eps_root) + eps), mu, nu


FORMULAS: dict[str, Callable[..., tuple[Array, ...]]] = {
    formula.__name__: formula
    for formula in (
        scale,
        clip,
        clip_by_global_norm,
        add_decayed_weights,
        scale_by_adam,
        scale_by_adam_nesterov,
        trace,
        trace_nesterov,
    )
}
"""The formula of each op, by its name."""
