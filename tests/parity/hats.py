"""Rules with epsilon beside the second moment as it is, as programs write them in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Array = Any
Steps = list[tuple[Array, Array]]

B1, B2, B3, EPS = 0.7, 0.95, 0.8, 1e-2


def _rate(t: int) -> float:
    """Kingma and Ba's: both corrections as a factor of the learning rate."""
    return float(np.sqrt(1 - B2**t) / (1 - B1**t))


def _moments(steps: Steps) -> Iterator[tuple[int, Array, Array, Array]]:
    m = v = np.zeros(())
    for t, (g, _) in enumerate(steps, 1):
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g**2
        yield t, g, m, v


def adam_hat(steps: Steps, name: str) -> Iterator[Array]:
    for t, _, m, v in _moments(steps):
        yield _rate(t) * m / (np.sqrt(v) + EPS)


def nadam_hat(steps: Steps, name: str) -> Iterator[Array]:
    for t, g, m, v in _moments(steps):
        ahead = B1 * m / (1 - B1 ** (t + 1)) + (1 - B1) * g / (1 - B1**t)
        yield -0.1 * np.sqrt(1 - B2**t) * ahead / (np.sqrt(v) + EPS)


def adamw_uncorrected(steps: Steps, name: str) -> Iterator[Array]:
    for (_, p), (_, _, m, v) in zip(steps, _moments(steps), strict=True):
        yield -0.1 * (m / (np.sqrt(v) + EPS) + 0.01 * p)


def nadam_uncorrected(steps: Steps, name: str) -> Iterator[Array]:
    for _, g, m, v in _moments(steps):
        yield -0.1 * (B1 * m + (1 - B1) * g) / (np.sqrt(v) + EPS)


def amsgrad_hat(steps: Steps, name: str) -> Iterator[Array]:
    """Reddi et al.: of a second moment that nothing corrects, the largest."""
    largest = np.zeros(())
    for t, _, m, v in _moments(steps):
        largest = np.maximum(largest, v)
        yield -0.1 * _rate(t) * m / (np.sqrt(largest) + EPS)


def adagrad_eps_beside(steps: Steps, name: str) -> Iterator[Array]:
    squares = np.zeros(())
    for g, _ in steps:
        squares = squares + g**2
        yield -0.1 * g / (np.sqrt(squares) + EPS)


def radam_hat(steps: Steps, name: str) -> Iterator[Array]:
    """Liu et al.: rectified beyond five squares of effective length."""
    most = 2 / (1 - B2) - 1
    for t, _, m, v in _moments(steps):
        length = most - 2 * t * B2**t / (1 - B2**t)
        if length < 5:
            yield -0.1 * m / (1 - B1**t)
            continue
        share = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
        yield -0.1 * np.sqrt(share) * _rate(t) * m / (np.sqrt(v) + EPS)


def adabelief_hat(steps: Steps, name: str) -> Iterator[Array]:
    m = s = np.zeros(())
    for t, (g, _) in enumerate(steps, 1):
        m = B1 * m + (1 - B1) * g
        s = B2 * s + (1 - B2) * (g - m) ** 2 + 1e-4
        yield -0.1 * _rate(t) * m / (np.sqrt(s) + EPS)


def yogi_hat(steps: Steps, name: str) -> Iterator[Array]:
    m = v = 1e-6
    for t, (g, _) in enumerate(steps, 1):
        m, v = B1 * m + (1 - B1) * g, v - (1 - B2) * np.sign(v - g**2) * g**2
        yield -0.1 * _rate(t) * m / (np.sqrt(v) + EPS)


def yogi_uncorrected(steps: Steps, name: str) -> Iterator[Array]:
    m = v = 1e-6
    for g, _ in steps:
        m, v = B1 * m + (1 - B1) * g, v - (1 - B2) * np.sign(v - g**2) * g**2
        yield -0.1 * m / (np.sqrt(v) + EPS)


def adan_hat(steps: Steps, name: str) -> Iterator[Array]:
    m = v = n = np.zeros(())
    old = steps[0][0]
    for t, (g, _) in enumerate(steps, 1):
        d, old = g - old, g
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * d
        n = B3 * n + (1 - B3) * (g + (1 - B2) * d) ** 2
        ahead = m / (1 - B1**t) + (1 - B2) * v / (1 - B2**t)
        yield -0.1 * np.sqrt(1 - B3**t) * ahead / (np.sqrt(n) + EPS)


def ademamix_hat(steps: Steps, name: str) -> Iterator[Array]:
    slow = np.zeros(())
    for t, g, m, v in _moments(steps):
        slow = B3 * slow + (1 - B3) * g
        yield -0.1 * np.sqrt(1 - B2**t) * (m / (1 - B1**t) + 2.0 * slow) / (np.sqrt(v) + EPS)


HATS: dict[str, Callable[[Steps, str], Iterator[Array]]] = {
    rule.__name__: rule
    for rule in (
        adam_hat,
        nadam_hat,
        adamw_uncorrected,
        nadam_uncorrected,
        amsgrad_hat,
        adagrad_eps_beside,
        radam_hat,
        adabelief_hat,
        yogi_hat,
        yogi_uncorrected,
        adan_hat,
        ademamix_hat,
    )
}
"""By name of the row."""
