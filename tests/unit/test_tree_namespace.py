"""What gradmill.tree does with trees, leaves and numbers of NumPy."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import gradmill as gm
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from tests.processes import python
from tests.trees import bits

W = np.array([1.0, -2.0], np.float32)


@pytest.mark.parametrize(
    "call",
    [
        gm.tree.add,
        gm.tree.vdot,
        gm.tree.cast_like,
        gm.tree.allclose,
        lambda x, y: gm.tree.update_moment(x, y, 0.9, 2),
    ],
)
def test_trees_are_matched_by_key(call: Any) -> None:
    x = {"a": W, "b": np.ones(2, np.float32)}
    y = {"a": 2 * W, "b": np.zeros(2, np.float32)}
    turned = OrderedDict([("b", y["b"]), ("a", y["a"])])
    assert bits(call(x, turned)) == bits(call(x, y))
    with pytest.raises(TreeError, match="missing key 'b'"):
        call(x, {"a": W})
    with pytest.raises(TreeError, match=r"\['b'\]: None, .* has an array"):
        call(x, {"a": W, "b": None})


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: gm.tree.add({"w": W}, {"w": np.ones(3)}),
            LeafValueError,
            r"^tree_y\['w'\]: shape \(3,\), tree_x has \(2,\) \(add\)$",
        ),
        (lambda: gm.tree.scale(2.0, {"w": "text"}), LeafTypeError, r"tree\['w'\]: is a str.*scale"),
        (lambda: gm.tree.add([W], [object()]), LeafTypeError, r"tree_y\[0\]: is an object.*add"),
        (lambda: gm.tree.sum([W, "text"]), LeafTypeError, r"tree\[1\]: is a str.*\(sum\)"),
        (lambda: gm.tree.clip([W * 1j], 0.0), LeafValueError, r"tree\[0\]: is complex.*\(clip\)"),
        (lambda: gm.tree.vdot([W], [np.ones(3)]), LeafValueError, r"tree_y\[0\]: shape \(3,\)"),
        (lambda: gm.tree.vdot([W], [object()]), (LeafTypeError, LeafValueError), r"tree_y\[0\]: "),
        (lambda: gm.tree.dtype([W, np.ones(2)]), LeafValueError, r"tree\[1\]: dtype float64"),
        (lambda: gm.tree.dtype([W], "most"), ValueError, "mixed_dtype_handler"),
        (lambda: gm.tree.norm([W], ord=3), ValueError, "ord must be"),
        (lambda: gm.tree.bias_correction([W], 0.9, -1), ValueError, "count must not be negative"),
        (lambda: gm.tree.random_like("seed", [W]), TypeError, "random_like takes an integer seed"),
        (lambda: gm.tree.random_like(0, [np.ones(2, int)]), LeafTypeError, r"target_tree\[0\]: dt"),
        (lambda: gm.tree.random_like(0, {"n": 2.0}), LeafTypeError, r"target_tree\['n'\]: is a fl"),
        (lambda: gm.tree.sub([W > 0], [W > 0]), LeafTypeError, r"tree_x\[0\]: .*boolean"),
        (
            lambda: gm.tree.map_params(gm.adam(0.1), lambda _: 0, gm.sgd(0.1).init(W)),
            TreeError,
            r"state\[0\]: does not belong to this transformation",
        ),
        (
            lambda: gm.tree.map_params(
                gm.trace(0.9), lambda _, __: 0, gm.trace(0.9).init({"w": W}), {"v": 1}
            ),
            TreeError,
            r"rest\[0\]: missing key 'w'",
        ),
    ],
)
def test_errors_name_the_leaf(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_none_and_masked_nodes_have_no_leaves() -> None:
    tree: dict[str, Any] = {"w": W, "none": None, "hole": gm.MaskedNode()}
    assert gm.tree.size(tree) == 2
    doubled = gm.tree.add(tree, tree)
    assert doubled["none"] is None
    assert doubled["hole"] == gm.MaskedNode()
    skipped = gm.tree.update_moment({"w": W, "v": None}, {"w": W, "v": W}, 0.9, 2)
    assert skipped["v"] is None


def test_numbers_of_trees_without_elements() -> None:
    empty: list[Any] = [{}, None, [gm.MaskedNode()]]
    for tree in empty:
        assert gm.tree.sum(tree) == gm.tree.norm(tree) == gm.tree.norm(tree, "inf") == 0
        assert gm.tree.vdot(tree, tree) == gm.tree.size(tree) == 0
        assert (gm.tree.max(tree), gm.tree.min(tree)) == (-np.inf, np.inf)
        assert gm.tree.allclose(tree, tree)
        assert gm.tree.random_like(0, tree) == tree
    assert gm.tree.norm([np.zeros((0, 3), np.float32)]).dtype == np.float32
    assert gm.tree.max([np.zeros((0, 3)), W]) == 1


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_results_of_numpy(dtype: Any) -> None:
    """Trees have arrays, also of rank 0; numbers are scalars of NumPy."""
    leaf = np.array(1.5, dtype)
    halved = gm.tree.scale(0.5, leaf)
    assert isinstance(halved, np.ndarray)
    assert (halved.dtype, halved.shape) == (leaf.dtype, ())
    for number in (gm.tree.sum(leaf), gm.tree.norm(leaf), gm.tree.max(leaf)):
        assert not isinstance(number, np.ndarray)
        assert np.asarray(number).dtype == leaf.dtype


def test_norms_do_not_overflow_before_their_time() -> None:
    assert gm.tree.norm([np.array([300, 400], np.float16)]) == 500
    assert gm.tree.norm([np.array([3e200, 4e200])]) == pytest.approx(5e200)
    assert gm.tree.vdot(np.full(4, 200, np.float16), np.full(4, 0.5, np.float16)) == 400
    assert gm.tree.norm([np.array([-128], np.int8)], ord=1) == 128
    assert gm.tree.sum(np.full(3000, 1, np.float16)) == 3000


def test_sums_do_not_depend_on_layout() -> None:
    leaf = np.random.default_rng(0).normal(size=(301, 57))
    other = np.asfortranarray(leaf)
    numbers: list[Any] = [gm.tree.sum, gm.tree.norm, lambda x: gm.tree.norm(x, ord=1)]
    for number in numbers:
        assert number(leaf) == number(other)
    assert (
        gm.tree.vdot(leaf, other) == gm.tree.vdot(leaf, leaf) == gm.tree.norm(other, squared=True)
    )


def test_half_precision_is_rounded_once() -> None:
    x, y = np.array([1.0], np.float16), np.array([1.0], np.float16)
    # 1 + 2^-12 + 2^-12 rounds up, but each 2^-12 alone is lost.
    assert gm.tree.add(x, np.float16(2**-11), np.float16(2**-11))[0] == np.float16(1 + 2**-10)
    moments = gm.tree.update_moment(np.array([300.0], np.float16), y, 0.9999, 2)
    assert moments[0] == pytest.approx(0.9999 + 9, rel=1e-3)


def test_nothing_is_written_or_shared() -> None:
    leaf = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    leaf.flags.writeable = False
    for made in (
        gm.tree.real(leaf),
        gm.tree.conj(leaf),
        gm.tree.clip(leaf),
        gm.tree.cast(leaf, leaf.dtype),
        gm.tree.cast_like(leaf, 1.0),
        gm.tree.batch_shape(leaf),
        gm.tree.add(leaf, 0.0),
        gm.tree.real(leaf + 1j),
    ):
        assert made.flags.c_contiguous
        assert made.flags.owndata
        assert not np.shares_memory(made, leaf)
        np.testing.assert_array_equal(made, leaf)
    assert gm.tree.cast(leaf, None) is leaf


FLOATS = st.floats(-1e3, 1e3, width=32)
LEAVES = arrays.arrays(np.float32, arrays.array_shapes(min_dims=0, max_dims=3), elements=FLOATS)


@given(st.lists(LEAVES, min_size=1, max_size=4))
def test_reductions_are_those_of_float64(leaves: list[Any]) -> None:
    wide = np.concatenate([leaf.ravel().astype(np.float64) for leaf in leaves])
    near: Any = {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(gm.tree.sum(leaves), wide.sum(), **near)
    np.testing.assert_allclose(gm.tree.vdot(leaves, leaves), wide @ wide, **near)
    np.testing.assert_allclose(gm.tree.norm(leaves), np.linalg.norm(wide), **near)
    np.testing.assert_allclose(gm.tree.norm(leaves, 1), np.linalg.norm(wide, 1), **near)
    assert gm.tree.norm(leaves, np.inf) == np.abs(wide).max()
    assert gm.tree.norm(leaves) == np.float32(gm.global_norm(leaves))


@given(LEAVES, st.integers(1, 100))
def test_moments_are_those_of_an_optimizer(leaf: Any, count: int) -> None:
    tx = gm.scale_by_adam(b1=0.9, b2=0.5)
    state = tx.update(leaf, tx.init(leaf))[1]
    zeros = gm.tree.zeros_like(leaf)
    near: Any = {"rtol": 1e-6, "atol": 1e-30}
    np.testing.assert_allclose(gm.tree.update_moment(leaf, zeros, 0.9, 1), state.mu, **near)
    np.testing.assert_allclose(gm.tree.update_moment(leaf, zeros, 0.5, 2), state.nu, **near)
    corrected = gm.tree.bias_correction(leaf, 0.9, count)
    np.testing.assert_allclose(corrected, leaf / (1 - 0.9**count), **near)


def test_map_params_beneath_masks() -> None:
    params = {"w": W, "b": W}
    tx = gm.masked(gm.adam(0.1), {"w": True, "b": False})
    state, names = tx.init(params), {"b": "of b", "w": "of w"}
    mapped = gm.tree.map_params(tx, lambda _, name: name, state, names)
    assert mapped.inner_state[0].mu == {"w": "of w", "b": gm.MaskedNode()}
    is_hole = lambda node: isinstance(node, gm.MaskedNode)
    mapped = gm.tree.map_params(tx, lambda _, name: name, state, names, is_leaf=is_hole)
    assert mapped.inner_state[0].mu == names
    assert mapped.inner_state[0].count is state.inner_state[0].count


def test_seeds_and_generators() -> None:
    tree: dict[str, Any] = {
        "w": np.zeros(5),
        "h": np.zeros(5, np.float16),
        "b": np.zeros(3, ml_dtypes.bfloat16),
    }
    for key in (3, np.int64(3), np.array([0, 3], np.uint32), 3 + 2**32):
        drawn = gm.tree.random_like(key, tree)
        assert bits(drawn) == bits(gm.tree.random_like(3, tree))
        assert [drawn[name].dtype for name in tree] == [leaf.dtype for leaf in tree.values()]
    for make in (np.random.default_rng, np.random.SeedSequence):
        once, again = (gm.tree.random_like(make(5), tree) for _ in range(2))
        assert bits(once) == bits(again)
    ones = gm.tree.random_like(0, tree, lambda key, shape, dtype: np.ones(shape, dtype), np.float32)
    assert bits(ones) == bits(gm.tree.ones_like(tree, np.float32))


def test_numpy_needs_no_jax() -> None:
    code = """
import sys; sys.modules["jax"] = None
import numpy as np, gradmill as gm
x = {"w": np.ones(2, np.float32), "n": 1.0}
t = gm.tree
t.add(x, x), t.norm(x), t.random_like(0, [x["w"]]), t.split_key_like(0, x)
t.bias_correction(x, 0.9, 1), t.update_moment(x, x, 0.9, 2)
t.unwrap_random_key_data(x), t.get_all_with_path(x, "w"), t.allclose(x, x)
t.map_params(gm.adam(0.1), lambda v: v, gm.adam(0.1).init(x))
print("done")
"""
    assert python(code).strip() == "done"
