"""What a program written for optax may meet, as docs/compatibility.md says."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from jax.tree_util import DictKey

import gradmill as gm
from gradmill.errors import LeafTypeError, TreeError
from gradmill.jax import to_optax
from tests.compatibility import DIFFERENCES
from tests.parity.test_schedules import SCHEDULES

F32 = np.float32
PARAMS = {"w": np.ones(2, F32), "b": [np.zeros(1, F32)]}


def test_each_row_has_a_test() -> None:
    for row in DIFFERENCES:
        assert callable(globals().get(row.test)), row.test


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.complex64])
def test_arrays_that_are_no_floats(dtype: Any) -> None:
    grads: Any = {"n": np.array([-1, 0, 1], dtype), "w": np.ones(2, F32)}
    theirs, _ = optax.scale(0.5).update({key: jnp.asarray(x) for key, x in grads.items()}, ())
    np.testing.assert_array_equal(theirs["n"], [-0.5, 0, 0.5])
    with pytest.raises(LeafTypeError, match=r"^updates\['n'\]: dtype (int|complex)"):
        gm.scale(0.5).update(grads, gm.EmptyState())
    optax.adam(0.1).init(grads)
    with pytest.raises(LeafTypeError, match=r"^params\['n'\]: dtype (int|complex)"):
        gm.adam(0.1).init(grads)
    # Beside floats, and what there is for them.
    alone = gm.masked(gm.scale(0.5), {"n": False, "w": True})
    ours, _ = alone.update(grads, alone.init(grads))
    np.testing.assert_array_equal(ours["w"], [0.5, 0.5])
    if dtype is np.complex64:
        split = gm.contrib.split_real_and_imaginary(gm.scale(0.5))
        ours, _ = split.update(grads, split.init(grads))
    else:
        cast = {key: np.asarray(leaf, F32) for key, leaf in grads.items()}
        ours, _ = gm.scale(0.5).update(cast, gm.EmptyState())
    np.testing.assert_array_equal(ours["n"], theirs["n"])


def test_arguments_are_looked_at_at_once() -> None:
    lion: Any = optax.scale_by_lion(mode="none")
    with pytest.raises(ValueError, match="mode"):
        lion.update(PARAMS, lion.init(PARAMS))
    with pytest.raises(ValueError, match=r"^mode must be"):
        gm.scale_by_lion(mode="none")  # type: ignore[arg-type]  # (what is refused)
    optax.scale_by_zoom_linesearch(5, increase_factor=1.0)
    with pytest.raises(ValueError, match=r"^increase_factor must be greater than 1"):
        gm.scale_by_zoom_linesearch(5, increase_factor=1.0)


def test_errors_have_words_of_their_own() -> None:
    mask = {"w": True}
    for module, error, words in (
        (optax, ValueError, "pytree"),
        (gm, TreeError, r"^mask: missing key 'b'$"),
    ):
        with pytest.raises(error, match=words):
            module.freeze(mask).init(PARAMS)
    assert issubclass(TreeError, ValueError)


def test_trees_are_compared_where_optax_does_not_look() -> None:
    other = (np.ones(2, F32), np.ones(1, F32))
    updates, _ = optax.scale(2.0).update(other, optax.EmptyState(), PARAMS)
    np.testing.assert_array_equal(updates[0], [2, 2])
    polyak: Any = optax.scale_by_polyak()
    with pytest.raises(TypeError, match="value"):
        polyak.update(other, polyak.init(PARAMS), PARAMS)
    for tx in (gm.scale_by_polyak(), gm.chain(gm.scale(2.0), gm.add_decayed_weights(0.1))):
        with pytest.raises(TreeError, match=r"^updates: a tuple, params has a dict"):
            tx.update(other, tx.init(PARAMS), PARAMS)


def test_none_stands_for_one_leaf() -> None:
    tx, own = optax.add_decayed_weights(0.1), gm.add_decayed_weights(0.1)
    assert tx.update(None, tx.init(PARAMS), PARAMS)[0] is None
    with pytest.raises(TreeError, match=r"^updates: None, params has a dict"):
        own.update(None, own.init(PARAMS), PARAMS)
    grads = {"w": None, "b": [None]}
    for one in (tx, own):
        assert one.update(grads, one.init(PARAMS), PARAMS)[0] == grads


def test_updates_of_no_parameter() -> None:
    assert optax.apply_updates(None, jnp.ones(2)) is None
    with pytest.raises(TreeError, match=r"^updates: an array, params has None"):
        gm.apply_updates(None, np.ones(2))
    assert gm.apply_updates(None, None) is None


def test_paths_are_of_classes_of_their_own() -> None:
    ((theirs, _),) = optax.tree.get_all_with_path({"w": 1.0}, "w")
    ((ours, _),) = gm.tree.get_all_with_path({"w": 1.0}, "w")
    assert theirs == (DictKey("w"),) != ours
    assert ours == (gm.tree_utils.DictKey("w"),)
    assert (repr(ours), str(ours[0]), ours[0].key) == (repr(theirs), str(theirs[0]), "w")


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore")
def test_schedules_return_float64(name: str) -> None:
    ours, theirs = SCHEDULES[name](gm), SCHEDULES[name](optax)
    for counts in (np.arange(3), np.arange(3, dtype=F32)):
        assert (ours(counts).dtype, ours(counts).shape) == (np.float64, (3,))
        values = ours(jnp.asarray(counts))
        assert (values.dtype, values.shape) == (F32, (3,))
    for count in (2, 2.0, np.int32(2), F32(2)):
        assert isinstance(ours(count), float)
        # One-cycle schedules of optax take no arrays of counts.
        assert getattr(theirs(count), "dtype", F32) == F32


def test_states_hold_arrays_of_numpy() -> None:
    schedule = gm.linear_schedule(1.0, 0.0, 4)
    for module, kind in ((optax, jax.Array), (gm, np.ndarray)):
        state = module.inject_hyperparams(module.sgd)(schedule).init(PARAMS)
        rate = module.tree.get(
            state, "learning_rate", filtering=lambda _, value, k=kind: isinstance(value, k)
        )
        assert rate == 1.0


def test_half_precision_comes_out_as_float32() -> None:
    grads = np.ones(2, ml_dtypes.bfloat16)
    theirs, ours = optax.sgd(0.1, 0.9), gm.sgd(0.1, 0.9)
    updates, state = theirs.update(jnp.asarray(grads), theirs.init(grads), grads)
    assert (updates.dtype, state[0].trace.dtype) == (grads.dtype, grads.dtype)
    updates, state = ours.update(grads, ours.init(grads), grads)
    assert (updates.dtype, state[0].trace.dtype) == (F32, F32)
    assert gm.apply_updates(grads, updates).dtype == grads.dtype


def test_programs_of_jax() -> None:
    tx = gm.sgd(0.5)
    with pytest.raises(LeafTypeError, match=r"use gradmill\.jax\.to_optax"):
        jax.jit(tx.update)(jnp.ones(2), tx.init(np.ones(2, F32)))
    with pytest.raises(LeafTypeError, match="optax's functions"):
        jax.jit(gm.apply_updates)(jnp.ones(2), jnp.ones(2))
    lowered = to_optax(tx)
    updates, _ = jax.jit(lowered.update)(jnp.ones(2), lowered.init(jnp.ones(2)))
    assert math.isclose(updates[0], -0.5)
