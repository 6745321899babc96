"""The functions of :mod:`gradmill.tree`, by the names that they have in ``optax.tree_utils``."""

from gradmill.tree._arithmetic import add as tree_add
from gradmill.tree._arithmetic import add_scale as tree_add_scale
from gradmill.tree._arithmetic import clip as tree_clip
from gradmill.tree._arithmetic import conj as tree_conj
from gradmill.tree._arithmetic import div as tree_div
from gradmill.tree._arithmetic import mul as tree_mul
from gradmill.tree._arithmetic import real as tree_real
from gradmill.tree._arithmetic import scale as tree_scale
from gradmill.tree._arithmetic import sub as tree_sub
from gradmill.tree._arithmetic import where as tree_where
from gradmill.tree._make import batch_shape as tree_batch_shape
from gradmill.tree._make import cast as tree_cast
from gradmill.tree._make import cast_like as tree_cast_like
from gradmill.tree._make import dtype as tree_dtype
from gradmill.tree._make import full_like as tree_full_like
from gradmill.tree._make import ones_like as tree_ones_like
from gradmill.tree._make import zeros_like as tree_zeros_like
from gradmill.tree._moments import bias_correction as tree_bias_correction
from gradmill.tree._moments import update_infinity_moment as tree_update_infinity_moment
from gradmill.tree._moments import update_moment as tree_update_moment
from gradmill.tree._moments import update_moment_per_elem_norm as tree_update_moment_per_elem_norm
from gradmill.tree._params import map_params as tree_map_params
from gradmill.tree._paths import DictKey as DictKey
from gradmill.tree._paths import GetAttrKey as GetAttrKey
from gradmill.tree._paths import NamedTupleKey as NamedTupleKey
from gradmill.tree._paths import SequenceKey as SequenceKey
from gradmill.tree._random import random_like as tree_random_like
from gradmill.tree._random import split_key_like as tree_split_key_like
from gradmill.tree._random import unwrap_random_key_data as tree_unwrap_random_key_data
from gradmill.tree._reductions import allclose as tree_allclose
from gradmill.tree._reductions import max as tree_max
from gradmill.tree._reductions import min as tree_min
from gradmill.tree._reductions import norm as tree_norm
from gradmill.tree._reductions import size as tree_size
from gradmill.tree._reductions import sum as tree_sum
from gradmill.tree._reductions import vdot as tree_vdot
from gradmill.tree._state import get as tree_get
from gradmill.tree._state import get_all_with_path as tree_get_all_with_path
from gradmill.tree._state import set as tree_set

__all__ = [
    "DictKey",
    "GetAttrKey",
    "NamedTupleKey",
    "SequenceKey",
    "tree_add",
    "tree_add_scale",
    "tree_allclose",
    "tree_batch_shape",
    "tree_bias_correction",
    "tree_cast",
    "tree_cast_like",
    "tree_clip",
    "tree_conj",
    "tree_div",
    "tree_dtype",
    "tree_full_like",
    "tree_get",
    "tree_get_all_with_path",
    "tree_map_params",
    "tree_max",
    "tree_min",
    "tree_mul",
    "tree_norm",
    "tree_ones_like",
    "tree_random_like",
    "tree_real",
    "tree_scale",
    "tree_set",
    "tree_size",
    "tree_split_key_like",
    "tree_sub",
    "tree_sum",
    "tree_unwrap_random_key_data",
    "tree_update_infinity_moment",
    "tree_update_moment",
    "tree_update_moment_per_elem_norm",
    "tree_vdot",
    "tree_where",
    "tree_zeros_like",
]
