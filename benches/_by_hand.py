"""The chains in NumPy, as people write them: one expression a line, a temporary for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from _settings import B1, B2, CLIP, DECAY, EPS, MOMENTUM, RATE, learning_rate

if TYPE_CHECKING:
    from _settings import Step
    from _trees import Array, Leaves


class Moments:
    """The state of Adam."""

    def __init__(self, params: Leaves) -> None:
        self.count = 0
        self.mu = [np.zeros_like(p) for p in params]
        self.nu = [np.zeros_like(p) for p in params]

    def direction(self, i: int, g: Array) -> Array:
        """Where Adam sends leaf ``i``, not yet times the learning rate."""
        self.mu[i] = B1 * self.mu[i] + (1 - B1) * g
        self.nu[i] = B2 * self.nu[i] + (1 - B2) * g**2
        mu_hat = self.mu[i] / (1 - B1**self.count)
        nu_hat = self.nu[i] / (1 - B2**self.count)
        direction: Array = mu_hat / (np.sqrt(nu_hat) + EPS)
        return direction


def clip(grads: Leaves) -> Leaves:
    """The gradients, scaled so that their global norm is at most ``CLIP``."""
    norm = np.sqrt(sum(np.sum(g**2) for g in grads))
    factor = min(1.0, CLIP / float(norm))
    return [g * factor for g in grads]


def adamw(params: Leaves, grads: Leaves) -> Step:
    """AdamW."""
    moments = Moments(params)

    def step() -> None:
        moments.count += 1
        for i, g in enumerate(grads):
            params[i] -= RATE * (moments.direction(i, g) + DECAY * params[i])

    return step


def clip_adamw(params: Leaves, grads: Leaves) -> Step:
    """AdamW of clipped gradients."""
    moments = Moments(params)

    def step() -> None:
        moments.count += 1
        for i, g in enumerate(clip(grads)):
            params[i] -= RATE * (moments.direction(i, g) + DECAY * params[i])

    return step


def demo(params: Leaves, grads: Leaves) -> Step:
    """Adam of clipped gradients with decayed weights added, on a schedule."""
    moments = Moments(params)

    def step() -> None:
        rate = learning_rate(moments.count)
        moments.count += 1
        for i, g in enumerate(clip(grads)):
            params[i] -= rate * moments.direction(i, g + DECAY * params[i])

    return step


def sgd_momentum(params: Leaves, grads: Leaves) -> Step:
    """Gradient descent with momentum."""
    velocity = [np.zeros_like(p) for p in params]

    def step() -> None:
        for i, g in enumerate(grads):
            velocity[i] = MOMENTUM * velocity[i] + g
            params[i] -= RATE * velocity[i]

    return step
