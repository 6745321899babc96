"""APOLLO-Mini as its paper has it, in float64, with the projections that JAX draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from tests.parity.directions import adam_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.parity.directions import Array, Steps


def drawn(seed: int, draw: int, place: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """Normal numbers for the matrix at a place, as JAX draws them."""
    with jax.enable_x64(True):
        key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), draw)
        key = jax.random.split(jax.random.split(key, place + 1)[place], 1)[0]
        return np.float64(jax.random.normal(key, shape, dtype))


def is_single(steps: Steps) -> bool:
    """Whether gradients were of float32."""
    return all((np.float32(g) == g).all() for g, _ in steps)


def apollo_mini_of(
    steps: Steps,
    projections: Callable[[int], Array],
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    alpha: float = 128**0.5,
    gamma: float = 1.01,
) -> Any:
    """Zhu et al., algorithm 1 of rank 1, for matrices whose projections are vectors."""
    m = v = np.zeros(())
    last: Any = np.inf
    for t, (g, _) in enumerate(steps, 1):
        p = projections(t - 1)
        r = p @ g if g.shape[0] <= g.shape[1] else g @ p
        m, v = b1 * m + (1 - b1) * r, b2 * v + (1 - b2) * r**2
        adam = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        u = np.linalg.norm(adam) / np.linalg.norm(r) * g
        size = np.linalg.norm(u)
        u = u * min(1, gamma * last / size)
        last = np.linalg.norm(u)
        yield alpha * u


def of_projections(steps: Steps, name: str, gap: int, seed: int, *args: float) -> Any:
    """The updates of a leaf; `conv` has three matrices, which add up over the axes (0, 2)."""
    number = 1 if name == "kernel" else 3

    def of(at: int) -> Callable[[int], Array]:
        place, shorter = (1, 7) if name == "kernel" else (0, 2)
        dtype = np.float32 if is_single(steps) else np.float64
        return lambda step: drawn(seed, step // gap, place, (number, shorter), dtype)[at]

    if name == "kernel":
        return apollo_mini_of(steps, of(0), *args)
    rows = [[(g[:, at].reshape(4, 2), p) for g, p in steps] for at in range(number)]
    parts = zip(*(apollo_mini_of(row, of(at), *args) for at, row in enumerate(rows)), strict=True)
    return (np.stack([u.reshape(2, 2, 2) for u in row], axis=1) for row in parts)


def scale_by_apollo_mini(steps: Steps, name: str) -> Any:
    if name not in ("kernel", "conv"):
        return (g for g, _ in steps)
    return of_projections(steps, name, 200, 0)


def apollo_mini_args(steps: Steps, name: str) -> Any:
    if name not in ("kernel", "conv"):
        directions = adam_of(steps, 0.8, 0.9, 1e-3)
        pairs = zip(steps, directions, strict=True)
        return (-0.2 * (u if name == "bias" else u + 0.1 * p) for (_, p), u in pairs)
    directions = of_projections(steps, name, 4, 7, 0.8, 0.9, 1e-3, 2.0, np.inf)
    rows = enumerate(zip(steps, directions, strict=True))
    return (-0.01 / (t + 1) * (u + 0.1 * p) for t, ((_, p), u) in rows)


def apollo_mini(steps: Steps, name: str) -> Any:
    if name == "kernel":
        return (-0.1 * u for u in of_projections(steps, name, 200, 0))
    return (-0.1 * u for u in adam_of(steps, 0.9, 0.999, 1e-8))


APOLLO: dict[str, Callable[..., Any]] = {
    "scale_by_apollo_mini": scale_by_apollo_mini,
    "apollo_mini_args": apollo_mini_args,
    "apollo_mini": apollo_mini,
}
