"""Updates with noise."""

from __future__ import annotations

from typing import Any

from gradmill._ops.op import op

Array = Any


@op(words=("key0", "key1"), makes_steps=False)
def add_noise(
    xp: Any, u: Array, *, std: Array, key0: Array, key1: Array, normal: Array
) -> tuple[Array, ...]:
    """Return ``u + std * normal``."""
    return (u + std * normal,)
