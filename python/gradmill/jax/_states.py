"""gradmill states as optax states and back, bit for bit."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradmill
from gradmill._data.numbers import is_foreign
from gradmill._data.trees import MaskedNode
from gradmill.schedules import WrappedScheduleState

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradmill._data.types import PyTree


def to_optax_state(state: PyTree) -> PyTree:
    """Convert a gradmill state to optax's, bit for bit.

    NamedTuples become optax's classes of the same name, and NumPy arrays become JAX arrays. Classes
    that optax does not have stay as they are, which JAX accepts. It works for anything made of such
    states: chains, combinators, checkpoints.

    Args:
        state: A state from ``tx.init``, ``tx.update`` or ``Optimizer.state``.

    Returns:
        The state, for the optax transformation made in the same way.

    Raises:
        TypeError: An array has a dtype that JAX would change, such as float64 outside its 64-bit
            mode.

    Example:
        >>> import numpy as np, optax
        >>> import gradmill as gm
        >>> from gradmill.jax import to_optax_state
        >>> state = to_optax_state(gm.adam(0.1).init(np.ones(2, np.float32)))
        >>> optax.tree_utils.tree_get(state, "count")
        Array(0, dtype=int32)
    """
    return with_keys(_convert(state, _optaxs, _to_jax))


def from_optax_state(state: PyTree) -> PyTree:
    """Convert an optax state to gradmill's, bit for bit.

    The inverse of :func:`to_optax_state`. The arrays are new and writeable.

    Args:
        state: An optax state of concrete arrays, not traced ones.

    Returns:
        The state, for the gradmill transformation made in the same way: for its ``update``, and for
        :meth:`gradmill.Optimizer.init_from`.

    Example:
        >>> import numpy as np, optax
        >>> import gradmill as gm
        >>> from gradmill.jax import from_optax_state
        >>> params = np.ones(2, np.float32)
        >>> opt = gm.Optimizer(gm.adam(0.1), params)
        >>> opt.init_from(from_optax_state(optax.adam(0.1).init(params)))
        >>> opt.step(params.copy()).step
        1
    """
    return _convert(state, _gradmills, _to_numpy)


def in_optaxs_classes(state: PyTree) -> PyTree:
    """``state`` in the classes that optax has for it, with JAX arrays for those of NumPy."""
    return _convert(state, _optaxs, lambda leaf: leaf if is_foreign(leaf) else _to_jax(leaf))


def _convert(tree: Any, classes: Callable[[], dict[type, type]], leaf: Callable[[Any], Any]) -> Any:
    """``tree`` with NamedTuples of other classes, and with other leaves."""

    def convert(tree: Any) -> Any:
        if isinstance(tree, tuple) and hasattr(tree, "_fields"):
            kind: Any = classes().get(type(tree), type(tree))
            return kind(*map(convert, tree))
        if isinstance(tree, (list, tuple)):
            return type(tree)(map(convert, tree))
        if isinstance(tree, dict):
            converted = tree.copy()
            converted.update((key, convert(child)) for key, child in tree.items())
            return converted
        # A leaf, or a node of a class that is registered with JAX.
        return jax.tree.map(leaf, tree)

    return convert(tree)


def with_keys(tree: Any) -> Any:
    """``tree`` with typed keys in the states that have a key, where optax has such."""
    if not jnp.issubdtype(
        optax.add_noise(0.0, 0.0, 0).init(0.0).rng_key.dtype, jax.dtypes.prng_key
    ):
        return tree

    drawing = (optax.AddNoiseState, optax.contrib.DifferentiallyPrivateAggregateState)

    def has_key(node: Any) -> bool:
        return isinstance(node, drawing)

    def typed(node: Any) -> Any:
        # What is inside of a transformation that runs another one has such keys already.
        if not has_key(node) or jnp.issubdtype(node.rng_key.dtype, jax.dtypes.prng_key):
            return node
        return node._replace(rng_key=jax.random.wrap_key_data(node.rng_key))

    return jax.tree.map(typed, tree, is_leaf=has_key)


@cache
def _pairs() -> list[tuple[type, type]]:
    """The classes of states that both libraries have, as far as their fields are the same."""
    own = vars(gradmill) | vars(gradmill.contrib) | vars(gradmill.experimental.aggregating)
    ours = {name: value for name, value in own.items() if hasattr(value, "_fields")}
    ours |= {"MaskedNode": MaskedNode, "WrappedScheduleState": WrappedScheduleState}
    # Some of optax's have no public name.
    made = [
        optax.add_decayed_weights(optax.constant_schedule(0.0)).init(0.0),
        optax.scale_by_rms(bias_correction=True).init(0.0),
        optax.scale_by_stddev(bias_correction=True).init(0.0),
        optax.scale_by_optimistic_gradient().init(0.0),
        optax.scale_by_distance_over_gradients().init(np.zeros(1)),
        optax.schedules.WrappedSchedule(optax.constant_schedule(0.0)).init(),
    ]
    theirs = {type(state).__name__: type(state) for state in made}
    experimental = getattr(getattr(optax, "experimental", None), "aggregating", None)
    for module in filter(None, (experimental, optax.contrib, optax)):
        theirs |= {name: value for name, value in vars(module).items() if name in ours}
    return [
        (kind, theirs[name])
        for name, kind in ours.items()
        if name in theirs and theirs[name]._fields == kind._fields
    ]


@cache
def _optaxs() -> dict[type, type]:
    """The classes of optax by those of gradmill."""
    return dict(_pairs())


@cache
def _gradmills() -> dict[type, type]:
    """The classes of gradmill by those of optax."""
    return {theirs: ours for ours, theirs in _pairs()}


def _to_jax(leaf: Any) -> Any:
    if not isinstance(leaf, np.ndarray):
        return leaf
    array = jnp.array(leaf)
    if array.dtype != leaf.dtype:
        raise TypeError(
            f"JAX makes {array.dtype} of an array of {leaf.dtype}; see its option jax_enable_x64"
        )
    return array


def _to_numpy(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.array(leaf) if isinstance(leaf, (jax.Array, np.ndarray)) else leaf
