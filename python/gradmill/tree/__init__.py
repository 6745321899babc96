"""Functions of trees of arrays, under optax's names: arithmetic, reductions, states.

They take NumPy arrays, numbers and JAX arrays, also inside ``jit``, and return arrays of the same
library; results for NumPy arrays are new arrays in C order. ``None`` stands for a leaf without an
array, also in results. Dtypes are promoted as in JAX; Python numbers alone are float64 and int64.
16-bit NumPy arrays are computed in float32 and rounded once.
"""

from gradmill.tree._arithmetic import add as add
from gradmill.tree._arithmetic import add_scale as add_scale
from gradmill.tree._arithmetic import clip as clip
from gradmill.tree._arithmetic import conj as conj
from gradmill.tree._arithmetic import div as div
from gradmill.tree._arithmetic import mul as mul
from gradmill.tree._arithmetic import real as real
from gradmill.tree._arithmetic import scale as scale
from gradmill.tree._arithmetic import sub as sub
from gradmill.tree._arithmetic import where as where
from gradmill.tree._make import batch_shape as batch_shape
from gradmill.tree._make import cast as cast
from gradmill.tree._make import cast_like as cast_like
from gradmill.tree._make import dtype as dtype
from gradmill.tree._make import full_like as full_like
from gradmill.tree._make import ones_like as ones_like
from gradmill.tree._make import zeros_like as zeros_like
from gradmill.tree._moments import bias_correction as bias_correction
from gradmill.tree._moments import update_infinity_moment as update_infinity_moment
from gradmill.tree._moments import update_moment as update_moment
from gradmill.tree._moments import update_moment_per_elem_norm as update_moment_per_elem_norm
from gradmill.tree._params import map_params as map_params
from gradmill.tree._random import random_like as random_like
from gradmill.tree._random import split_key_like as split_key_like
from gradmill.tree._random import unwrap_random_key_data as unwrap_random_key_data
from gradmill.tree._reductions import allclose as allclose
from gradmill.tree._reductions import max as max  # noqa: A004
from gradmill.tree._reductions import min as min  # noqa: A004
from gradmill.tree._reductions import norm as norm
from gradmill.tree._reductions import size as size
from gradmill.tree._reductions import sum as sum  # noqa: A004
from gradmill.tree._reductions import vdot as vdot
from gradmill.tree._state import get as get
from gradmill.tree._state import get_all_with_path as get_all_with_path
from gradmill.tree._state import set as set  # noqa: A004

__all__ = [
    "add",
    "add_scale",
    "allclose",
    "batch_shape",
    "bias_correction",
    "cast",
    "cast_like",
    "clip",
    "conj",
    "div",
    "dtype",
    "full_like",
    "get",
    "get_all_with_path",
    "map_params",
    "max",
    "min",
    "mul",
    "norm",
    "ones_like",
    "random_like",
    "real",
    "scale",
    "set",
    "size",
    "split_key_like",
    "sub",
    "sum",
    "unwrap_random_key_data",
    "update_infinity_moment",
    "update_moment",
    "update_moment_per_elem_norm",
    "vdot",
    "where",
    "zeros_like",
]
