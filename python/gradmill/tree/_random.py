"""Random trees, and trees of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradmill import _core
from gradmill._data.arrays import DTYPES, is_float
from gradmill._data.keys import is_of_jax, words_of
from gradmill._data.numbers import is_foreign
from gradmill._data.threads import scoped
from gradmill._data.trees import flatten, leaf_path, tree_map
from gradmill.errors import LeafTypeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.keys import Words
    from gradmill._data.trees import Treespec
    from gradmill._data.types import PyTree


def split_key_like(rng_key: Any, target_tree: PyTree) -> PyTree:
    """One key for each leaf of a tree: those of ``jax.random.split``, bit for bit.

    Args:
        rng_key: A JAX key, typed or not; a NumPy array of two uint32; an integer seed; or a NumPy
            ``Generator`` or ``SeedSequence`` to draw a key from.
        target_tree: The tree.

    Returns:
        A tree of keys: JAX keys for a JAX key, otherwise arrays of two uint32.

    Raises:
        TypeError: ``rng_key`` is not one of these.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.split_key_like(0, {"w": np.zeros(2)})
        {'w': array([1797259609, 2579123966], dtype=uint32)}
    """
    leaves, spec = flatten(target_tree)
    places = [at for at, leaf in enumerate(leaves) if leaf is not None]
    new: list[Any] = [None] * len(leaves)
    if is_of_jax(rng_key):
        from jax import random  # noqa: PLC0415  (who has such a key has imported JAX)

        keys = random.split(rng_key, len(places)) if places else ()
    else:
        words = words_of(rng_key, "split_key_like")
        keys = [np.array(_core.split_key(words, at), np.uint32) for at in range(len(places))]
    for key, at in zip(keys, places, strict=True):
        new[at] = key
    return spec.unflatten(new)


def random_like(
    rng_key: Any,
    target_tree: PyTree,
    sampler: Callable[[Any, tuple[int, ...], Any], Any] | None = None,
    dtype: Any = None,
) -> PyTree:
    """A tree of random arrays.

    With a JAX key, the numbers are those of ``jax.random``. With any other key and without a
    ``sampler``, they are NumPy arrays: in float32 and float64 the normally distributed numbers of
    ``jax.random.normal`` for that key, to within a few roundings; in float16 and bfloat16 those of
    float32, rounded, which differ from what JAX draws. Complex dtypes are not supported.

    Args:
        rng_key: A JAX key, typed or not; a NumPy array of two uint32; an integer seed; or a NumPy
            ``Generator`` or ``SeedSequence`` to draw a key from.
        target_tree: A tree of arrays, which gives the shapes.
        sampler: Called with a key, a shape and a dtype for each leaf, such as
            ``jax.random.uniform``; None for a normal distribution.
        dtype: The dtype of all leaves; None to keep the dtype of each.

    Returns:
        A tree of what the sampler returns.

    Raises:
        TypeError: ``rng_key`` is not one of these.
        LeafTypeError: A leaf has no shape or no dtype, or its dtype is not supported.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.random_like(0, {"w": np.zeros(2)})["w"].shape
        (2,)
    """
    leaves, spec = flatten(target_tree)
    places = [at for at, leaf in enumerate(leaves) if leaf is not None]
    shapes = [_shape_of(leaves[at], dtype, spec, at) for at in places]
    if sampler is None and not is_of_jax(rng_key):
        drawn = _normal(words_of(rng_key, "random_like"), shapes, spec, places)
    else:
        keys = flatten(split_key_like(rng_key, [leaves[at] for at in places]))[0]
        draw = sampler or _normal_of_jax
        drawn = [draw(key, *shape) for key, shape in zip(keys, shapes, strict=True)]
    new: list[Any] = [None] * len(leaves)
    for at, array in zip(places, drawn, strict=True):
        new[at] = array
    return spec.unflatten(new)


_Shape: TypeAlias = "tuple[tuple[int, ...], Any]"


def _shape_of(leaf: Any, dtype: Any, spec: Treespec, at: int) -> _Shape:
    """The shape and the dtype of what is drawn for a leaf."""
    if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
        path = leaf_path(spec, at, "target_tree")
        raise LeafTypeError(f"{path}: is a {type(leaf).__name__}, not an array (random_like)")
    return leaf.shape, leaf.dtype if dtype is None else dtype


def _normal_of_jax(key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    from jax import random  # noqa: PLC0415  (who has such a key has imported JAX)

    return random.normal(key, shape, dtype)


def _normal(words: Words, shapes: list[_Shape], spec: Treespec, places: list[int]) -> list[Any]:
    """Normally distributed numbers, as the noise that the core adds to zeros."""
    zeros: list[Any] = []
    for (shape, dtype), at in zip(shapes, places, strict=True):
        wanted = np.dtype(dtype).newbyteorder("=")
        if not is_float(wanted):
            path = leaf_path(spec, at, "target_tree")
            raise LeafTypeError(f"{path}: dtype {wanted}, expected {DTYPES} (random_like)")
        zeros.append(np.zeros(shape, wanted))
    if not zeros:
        return []
    noise = _core.Program([("add_noise", 0, None)])
    scalars = [1.0, *map(float, words)]
    drawn = noise.update(zeros, None, [], None, scalars, 0, scoped.get())[0]
    # Updates of half precision come back in float32.
    return [z.astype(zero.dtype, copy=False) for z, zero in zip(drawn, zeros, strict=True)]


def unwrap_random_key_data(input_tree: PyTree) -> PyTree:
    """Replace all typed JAX keys in a tree by their words.

    Args:
        input_tree: A tree.

    Returns:
        The tree with arrays of uint32 in place of typed keys; other leaves are as they were.

    Example:
        >>> import numpy as np
        >>> import gradmill as gm
        >>> gm.tree.unwrap_random_key_data({"w": np.zeros(2), "key": np.array([0, 7], np.uint32)})
        {'w': array([0., 0.]), 'key': array([0, 7], dtype=uint32)}
    """
    return tree_map(_unwrapped, input_tree)


def _unwrapped(leaf: Any) -> Any:
    if not (is_foreign(leaf) and str(leaf.dtype).startswith("key<")):
        return leaf
    from jax.random import key_data  # noqa: PLC0415  (who has such a key has imported JAX)

    return key_data(leaf)
