"""What optax does not have, against the papers' formulas as one writes them in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradmill as gm
from tests.cases.beyond import BEYOND
from tests.trees import assert_close, random_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.case import Case

Array = Any
Steps = list[tuple[Array, Array]]
"""Gradient and parameters of each step, of one leaf."""

STEPS = 10
TOLERANCE = {
    np.float32: {"rtol": 2e-4, "atol": 2e-6},
    np.float64: {"rtol": 1e-10, "atol": 1e-13},
}


def adam_of(steps: Steps, b1: float, b2: float, eps: float, *, nesterov: bool = False) -> Any:
    """Adam's direction in each step."""
    m = v = np.zeros(())
    for t, (g, _) in enumerate(steps, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        if nesterov:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        yield m_hat / (np.sqrt(v / (1 - b2**t)) + eps)


def masked(u: Array, g: Array, least: float) -> Array:
    """Liang et al.: the elements of a direction whose sign is the gradient's."""
    phi = (u * g > 0).astype(float)
    return u * phi / max(phi.mean() if phi.size else 1.0, least)


def cautious(steps: Steps, name: str) -> Any:
    for (g, _), u in zip(steps, adam_of(steps, 0.7, 0.999, 1e-8), strict=True):
        yield -0.1 * masked(u, g, 1e-3)


def cautious_args(steps: Steps, name: str) -> Any:
    trace = np.zeros(())
    for g, _ in steps:
        trace = g + 0.8 * trace
        yield masked(trace, g, 0.6)


def decayed(u: Array, p: Array, weight_decay: float) -> Array:
    """Chen et al.: decay where update and parameter have the same sign."""
    return u + weight_decay * (u * p >= 0) * p


def cautious_weight_decay(steps: Steps, name: str) -> Any:
    return (decayed(g, p, 0.1) for g, p in steps)


def cautious_weight_decay_schedule(steps: Steps, name: str) -> Any:
    for t, (g, p) in enumerate(steps):
        yield g if name == "bias" else decayed(g, p, 0.01 / (t + 1))


def cautious_adamw(steps: Steps, name: str) -> Any:
    for (g, p), u in zip(steps, adam_of(steps, 0.7, 0.95, 1e-3), strict=True):
        yield -0.1 * (masked(u, g, 1e-3) + 1e-4 * p)


def cautious_adamw_args(steps: Steps, name: str) -> Any:
    directions = adam_of(steps, 0.7, 0.999, 1e-8, nesterov=True)
    for t, ((g, p), u) in enumerate(zip(steps, directions, strict=True)):
        kept = masked(u, g, 1e-3)
        yield -0.01 / (t + 1) * (kept if name == "bias" else decayed(kept, p, 0.1))


FORMULAS: dict[str, Callable[..., Any]] = {
    "cautious": cautious,
    "cautious_args": cautious_args,
    "cautious_weight_decay": cautious_weight_decay,
    "cautious_weight_decay_schedule": cautious_weight_decay_schedule,
    "cautious_adamw": cautious_adamw,
    "cautious_adamw_args": cautious_adamw_args,
}
"""For each row what its arguments make of gradients and parameters of one leaf."""


@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("case", BEYOND, ids=lambda case: case.name)
def test_the_papers_formula(case: Case, dtype: Any) -> None:
    """Ten steps towards a point, with noise; what has no formula here fails."""
    tx, params = case.make(gm), random_tree(0, dtype)
    state = tx.init(params)
    seen: list[tuple[Any, Any]] = []
    made: list[Any] = []
    for seed in range(1, STEPS + 1):
        noise = random_tree(seed, dtype, 0.5)
        grads = {k: None if p is None else np.asarray(p + noise[k]) for k, p in params.items()}
        updates, state = tx.update(grads, state, params)
        seen.append((grads, params))
        made.append(updates)
        params = gm.apply_updates(params, gm.tree.scale(-0.01, updates))
    tolerance = {key: bound * case.loose for key, bound in TOLERANCE[dtype].items()}
    for name, leaf in params.items():
        if leaf is not None:
            steps = [(np.float64(g[name]), np.float64(p[name])) for g, p in seen]
            expected = [*FORMULAS[case.name](steps, name)]
            assert_close([updates[name] for updates in made], expected, **tolerance)
