"""Smooth functions to minimize, the same for optax and for gradmill."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


class Problem(NamedTuple):
    """A function and where to begin.

    Attributes:
        name: The test's name.
        value: The function, of arrays of JAX.
        start: A tree of numbers.
    """

    name: str
    value: Callable[[Any], Any]
    start: Any

    def params(self, dtype: Any) -> Any:
        """Where to begin, as arrays of NumPy."""
        return {key: np.asarray(numbers, dtype) for key, numbers in self.start.items()}

    def value_and_grad(self, params: Any) -> tuple[Any, Any]:
        """Both at some parameters, as NumPy has them."""
        return jax.tree.map(np.asarray, _compiled(self.value)(params))  # type: ignore[no-any-return]


@cache
def _compiled(value: Callable[[Any], Any]) -> Any:
    return jax.jit(jax.value_and_grad(value))


def parabola(params: Any) -> Any:
    """Curvatures from 1 to 20, with its minimum off zero."""
    near = jnp.sum(jnp.arange(1.0, 4.0) * (params["near"] - 0.5) ** 2)
    return near + 10 * jnp.sum((params["far"] + 0.25) ** 2)


def rosenbrock(params: Any) -> Any:
    """A curved valley in two dimensions."""
    x, y = params["x"], params["y"]
    return jnp.sum(100 * (y - x**2) ** 2 + (1 - x) ** 2)


PARABOLA = Problem(
    "parabola", parabola, {"near": [3.0, -1.5, 2.0], "far": [[1.0, -2.0], [0.5, 0.7]]}
)
ROSENBROCK = Problem("rosenbrock", rosenbrock, {"x": -1.2, "y": 1.0})
PROBLEMS = [PARABOLA, ROSENBROCK]
