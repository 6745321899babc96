"""The parameter trees that are timed, and the little that must be known of trees."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Leaves: TypeAlias = list[Array]
Tree: TypeAlias = Any
"""An array, or a dict of trees."""

MLP = {
    "dense0": {"w": (64, 64), "b": (64,)},
    "dense1": {"w": (64, 32), "b": (32,)},
    "dense2": {"w": (32, 10), "b": (10,)},
}


def leaves(tree: Tree) -> list[Any]:
    """The leaves of a tree, in the order of its dicts' keys."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    return [tree]


def map_tree(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """A tree of what ``function`` returns for each leaf."""
    if isinstance(tree, dict):
        return {key: map_tree(function, value) for key, value in tree.items()}
    return function(tree)


@dataclass(frozen=True)
class Size:
    """One row of the tables.

    Attributes:
        name: What it is called on the command line.
        shapes: A tree of shapes.
        only_in_place: Whether contenders that allocate their results are left out.
    """

    name: str
    shapes: Tree
    only_in_place: bool = False

    @property
    def params(self) -> int:
        """Number of parameters."""
        return sum(int(np.prod(shape)) for shape in leaves(self.shapes))

    @property
    def flat(self) -> bool:
        """Whether it is one array."""
        return not isinstance(self.shapes, dict)

    def normal(self, seed: int, scale: float, dtype: str = "float32") -> Tree:
        """A tree of normally distributed numbers."""
        rng = np.random.default_rng(seed)
        factor = np.float32(scale)

        if dtype == "bfloat16":
            import_module("ml_dtypes")  # NumPy knows the name from then on

        def draw(shape: Any) -> Any:
            return (rng.standard_normal(shape, dtype=np.float32) * factor).astype(dtype, copy=False)

        return map_tree(draw, self.shapes)


def _layers(count: int, length: int) -> Tree:
    return {f"layer{index:04}": (length,) for index in range(count)}


SIZES = {
    size.name: size
    for size in (
        Size("mlp", MLP),
        Size("flat114", (114,)),
        Size("flat1000", (1000,)),
        Size("1000x64", _layers(1000, 64)),
        Size("10000x64", _layers(10_000, 64), only_in_place=True),
        Size("200x5000", _layers(200, 5000)),
        Size("1e5", (100_000,), only_in_place=True),
        Size("1e6", (1_000_000,)),
        Size("1e7", (10_000_000,)),
        Size("3e7", (30_000_000,)),
    )
}
