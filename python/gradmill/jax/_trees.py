"""Leaves of trees as JAX arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from gradmill._data.arrays import DTYPES


def as_array(value: object) -> jax.Array:
    """``value`` as an array of floats of JAX.

    Raises:
        TypeError: It is no such array. The message continues a leaf's path.
    """
    if value is None:
        raise TypeError("is None, expected an array")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("is a masked array, whose mask would be lost; pass filled() or data")
    try:
        array: jax.Array = jnp.asarray(value)
    except TypeError:
        raise TypeError(f"is a {type(value).__name__}, not an array") from None
    if array.dtype not in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64):
        raise TypeError(f"dtype {array.dtype}, expected {DTYPES}")
    return array
