"""What formulas of papers start from."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
Steps: TypeAlias = list[tuple[Array, Array]]
"""Gradient and parameters of each step, of one leaf."""


def adam_of(steps: Steps, b1: float, b2: float, eps: float, *, nesterov: bool = False) -> Any:
    """Adam's direction in each step."""
    m = v = np.zeros(())
    for t, (g, _) in enumerate(steps, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        if nesterov:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        yield m_hat / (np.sqrt(v / (1 - b2**t)) + eps)
