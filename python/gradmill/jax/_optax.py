"""gradmill transformations as optax transformations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optax

from gradmill._data.types import is_transformation
from gradmill.jax._lowering import Lowering

if TYPE_CHECKING:
    from gradmill._data.types import TransformationLike


def to_optax(tx: TransformationLike) -> optax.GradientTransformationExtraArgs:
    """Return ``tx`` as an optax transformation, made of JAX operations.

    It computes the formulas of ``tx``, runs on any device, and is as pure as optax's own: in
    ``jit``, ``grad``, ``vmap``, ``scan`` and ``shard_map``. Its state is what optax has for the
    same chain, in optax's classes; updates keep their dtypes.

    As everywhere in gradmill, 16-bit leaves have float32 moments, and bias corrections and global
    norms lose no digits and do not overflow. Members written in Python take part if they are
    written for JAX, optax's own transformations among them.

    Args:
        tx: The transformation. Its hyperparameters may be traced, to differentiate through a
            training loop.

    Returns:
        The optax transformation. Its ``init`` and ``update`` raise LeafTypeError for a leaf that is
        not an array of floats, and LeafValueError for one whose shape is not its parameter's.

    Raises:
        TypeError: ``tx`` is not a transformation.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> import gradmill as gm
        >>> from gradmill.jax import to_optax
        >>> tx = to_optax(gm.chain(gm.clip_by_global_norm(1.0), gm.adam(0.1)))
        >>> params = {"w": jnp.ones(2)}
        >>> state = tx.init(params)
        >>> grads = jax.grad(lambda p: jnp.sum(p["w"] ** 2))(params)
        >>> updates, state = jax.jit(tx.update)(grads, state, params)
        >>> updates["w"].round(3)
        Array([-0.1, -0.1], dtype=float32)
        >>> optax.tree_utils.tree_get(state, "count")
        Array(1, dtype=int32)
    """
    if not is_transformation(tx):
        raise TypeError(f"to_optax takes a transformation, got {tx!r}")
    lowering = Lowering(tx)
    return optax.GradientTransformationExtraArgs(lowering.init, lowering.update)
