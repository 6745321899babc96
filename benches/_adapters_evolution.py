"""Rows of ``bench_adapters.py`` for ``gradmill.adapters.evolution``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from _adapters import Row
from gradmill.adapters import evolution

if TYPE_CHECKING:
    from _settings import Step

SIZES = {"1k": 1_000, "10k": 10_000, "1M": 1_000_000}


def by_hand(kind: str, theta: Any, gradient: Any) -> Step:
    """What these programs do: new arrays for each term, and the ratio of two norms."""
    m, v, t = np.zeros_like(theta), np.zeros_like(theta), 0

    def adam() -> None:
        nonlocal theta, m, v, t
        t += 1
        size = 0.01 * float(np.sqrt(1 - 0.999**t)) / (1 - 0.9**t)
        m = 0.9 * m + (1 - 0.9) * gradient
        v = 0.999 * v + (1 - 0.999) * (gradient * gradient)
        move(-size * m / (np.sqrt(v) + 1e-8))

    def sgd() -> None:
        nonlocal v
        v = 0.9 * v + (1 - 0.9) * gradient
        move(-0.01 * v)

    def move(step: Any) -> None:
        nonlocal theta
        assert np.linalg.norm(step) / np.linalg.norm(theta) < np.inf
        theta = theta + step

    return adam if kind == "Adam" else sgd


def steps(kind: str, size: int, dtype: Any) -> tuple[Step, Step]:
    """Steps of one vector."""
    rng = np.random.default_rng(0)
    theta, gradient = (rng.normal(size=size).astype(dtype) for _ in range(2))
    optimizer = getattr(evolution, kind)(theta, 0.01)
    return by_hand(kind, theta, gradient), partial(optimizer.update, gradient)


def rows() -> list[Row]:
    """Steps."""
    return [
        Row(
            "evolution",
            f"{kind}, {name}, {dtype.__name__}",
            partial(steps, kind, size, dtype),
            least,
        )
        for kind in ("Adam", "SGD")
        for dtype in (np.float32, np.float64)
        for (name, size), least in zip(SIZES.items(), (1.0, 2.0, 2.0), strict=True)
    ]
