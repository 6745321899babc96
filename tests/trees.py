"""Trees of arrays for all suites: every rank, an empty leaf, None."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradmill._data.trees import flatten, tree_map

if TYPE_CHECKING:
    from collections.abc import Mapping

Array = np.ndarray[Any, Any]
SHAPES: dict[str, tuple[int, ...]] = {
    "bias": (5,),
    "conv": (2, 3, 2, 2),
    "empty": (0, 3),
    "kernel": (9, 7),
    "scalar": (),
}


def random_tree(
    seed: int,
    dtype: Any = np.float32,
    scale: float = 1.0,
    shapes: Mapping[str, tuple[int, ...]] = SHAPES,
) -> dict[str, Any]:
    """A tree with 0-d, empty, 1-d, 2-d and 4-d leaves and a None."""
    rng = np.random.default_rng(seed)
    leaves = {key: rng.normal(0.0, scale, shape) for key, shape in shapes.items()}
    return {**{key: np.asarray(leaf, dtype) for key, leaf in leaves.items()}, "none": None}


def special_tree(seed: int, dtype: Any = np.float32) -> dict[str, Any]:
    """Like :func:`random_tree`, with zeros of both signs, NaN and infinities in one leaf."""
    tree = random_tree(seed, dtype)
    tree["kernel"][0, :6] = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-20]
    return tree


def copy_tree(tree: Any) -> Any:
    """New arrays with the same values and memory order."""
    return tree_map(
        lambda leaf: np.array(leaf, order="K") if isinstance(leaf, np.ndarray) else leaf, tree
    )


def bits(tree: Any) -> list[tuple[Any, ...]]:
    """Dtype, shape and bytes of each leaf, to compare trees bit for bit.

    All NaNs count as one: whose payload a processor hands on depends on the order in which
    a compiler names the two.
    """
    arrays = [np.asarray(leaf) for leaf in flatten(tree)[0] if leaf is not None]
    return [(array.dtype.str, array.shape, _one_nan(array).tobytes()) for array in arrays]


def _one_nan(array: Array) -> Array:
    is_nan = np.isnan(array)
    return np.where(is_nan, np.nan, array).astype(array.dtype) if is_nan.any() else array


def assert_close(actual: Any, expected: Any, rtol: float, atol: float = 0.0) -> None:
    """Compare two trees leaf by leaf; NaN equals NaN."""
    actual_leaves, expected_leaves = (
        [leaf for leaf in flatten(tree)[0] if leaf is not None] for tree in (actual, expected)
    )
    assert len(actual_leaves) == len(expected_leaves)
    for a, b in zip(actual_leaves, expected_leaves, strict=True):
        assert np.shape(a) == np.shape(b)
        if not _plainly_close(np.asarray(a), np.asarray(b), rtol, atol):
            np.testing.assert_allclose(a, np.asarray(b), rtol=rtol, atol=atol)


def _plainly_close(a: Array, b: Array, rtol: float, atol: float) -> bool:
    """Whether all are finite and close by NumPy's rule, which takes ten times longer to say so."""
    if not a.dtype == b.dtype in (np.float32, np.float64):
        return False
    with np.errstate(all="ignore"):
        apart = abs(a - b)
        return bool(((apart <= atol + rtol * abs(b)) & (apart < np.inf)).all())
