"""Adam: updates over the root of their average square."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradmill._ops.common import moments, root

if TYPE_CHECKING:
    from types import ModuleType

    from gradmill._ops.common import Array


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
    mu, nu = moments(u, mu, nu, b1, b2)
    return mu / correction1 / root(xp, nu / correction2, eps_root, eps), mu, nu


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
    """Divide the first moment of the step to come by the root of the corrected second."""
    mu, nu = moments(u, mu, nu, b1, b2)
    mu_hat = b1 * mu / correction1_next + (1 - b1) * u / correction1
    return mu_hat / root(xp, nu / correction2, eps_root, eps), mu, nu
