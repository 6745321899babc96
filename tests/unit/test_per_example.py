"""Gradients of single examples: values of optax, both call forms, layouts, bits, errors."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradmill as gm
from gradmill import _core
from gradmill.errors import LeafTypeError, LeafValueError
from tests.on_jax import to_jax
from tests.trees import Array, assert_close, bits

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
SHAPES = {"bias": (5,), "conv": (2, 3, 2), "empty": (0, 3), "kernel": (40, 31), "scalar": ()}
BATCH = 9
TOLERANCE = {F32: {"rtol": 1e-5, "atol": 1e-6}, F64: {"rtol": 1e-12, "atol": 1e-13}}
clip: Any = gm.per_example_global_norm_clip  # without its types, for arguments that break them


def batch(seed: int, dtype: Any, size: int = BATCH) -> dict[str, Any]:
    """Examples of all sizes, one of them zero, and a leaf that is None."""
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.normal(0.0, 2.0, size))
    scales[size // 2 : size // 2 + 1] = 0.0
    tree: dict[str, Any] = {"none": None}
    for name, shape in SHAPES.items():
        own = scales.reshape(-1, *[1] * len(shape))
        tree[name] = (rng.normal(size=(size, *shape)) * own).astype(dtype)
    return tree


def reference(
    leaves: list[Array], limit: float, uniform: bool | None = None
) -> tuple[list[Array], list[int]]:
    """The definition in float64, one example after the other."""
    rows = [np.asarray(leaf, F64).reshape(len(leaf), math.prod(leaf.shape[1:])) for leaf in leaves]
    norms = [np.sqrt((own**2).sum(axis=1)) for own in rows]
    if uniform is None:
        bounds = [limit] * len(rows)
        norms = [np.sqrt(np.sum([own**2 for own in norms], axis=0))] * len(rows)
    else:
        total = sum(own.shape[1] for own in rows)
        shares = [1 / len(rows) if uniform else own.shape[1] / total for own in rows]
        bounds = [limit * share**0.5 for share in shares]
    sums, counts = [], []
    for leaf, own, norm, bound in zip(leaves, rows, norms, bounds, strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.array(bound) / norm
        factors = np.where(ratio < 1.0, ratio, 1.0)
        sums.append((factors[:, None] * own).sum(axis=0).reshape(leaf.shape[1:]))
        counts.append(int((factors < 1.0).sum()))
    return sums, counts if uniform is not None else counts[:1]


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("limit", [0.0, 0.1, 5.0, 40.0, math.inf])
def test_values_are_those_of_optax(dtype: Any, limit: float) -> None:
    with jax.enable_x64(dtype == F64):
        for seed in range(5):
            grads = batch(seed, dtype)
            sums, count = clip(grads, limit)
            their_sums, their_count = optax.per_example_global_norm_clip(to_jax(grads), limit)
            assert_close(sums, their_sums, **TOLERANCE[dtype])
            assert type(count) is int
            assert count == their_count
            assert sums["none"] is None
            assert all(sums[name].dtype == dtype for name in SHAPES)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("uniform", [True, False])
def test_layers_are_those_of_optax(dtype: Any, uniform: bool) -> None:
    with jax.enable_x64(dtype == F64):
        for seed in range(5):
            grads = {"layer": (batch(seed, dtype), batch(seed + 50, dtype)["bias"])}
            sums, counts = gm.per_example_layer_norm_clip(grads, 5.0, uniform)
            theirs = optax.per_example_layer_norm_clip(to_jax(grads), 5.0, uniform)
            assert_close(sums, theirs[0], **TOLERANCE[dtype])
            assert counts == theirs[1]
            leaves = [leaf for leaf in jax.tree.leaves(grads) if leaf.size]
            assert gm.per_example_layer_norm_clip(leaves, 5.0)[1] == reference(leaves, 5.0, True)[1]


SPECIAL = {
    "nan": [[np.nan, 2.0], [3.0, 4.0]],
    "infinity": [[1.0, np.inf], [3.0, 4.0]],
    "both infinities": [[-np.inf, np.inf], [3.0, 4.0]],
    "zero": [[0.0, -0.0], [3.0, 4.0]],
    "all zero": [[0.0, 0.0], [0.0, 0.0]],
    "at the bound": [[0.6, 0.8], [3.0, 4.0]],
}


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("limit", [0.0, 1.0, 5.0, math.inf])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values_are_those_of_optax(name: str, limit: float, dtype: Any) -> None:
    grads = [np.array(SPECIAL[name], dtype), np.ones((2, 3), dtype)]
    if name in ("zero", "all zero", "at the bound"):
        grads = grads[:1]
    with jax.enable_x64(dtype == F64):
        sums, count = clip(grads, limit)
        their_sums, their_count = optax.per_example_global_norm_clip(to_jax(grads), limit)
        assert_close(sums, their_sums, **TOLERANCE[dtype])
        if (name, limit, dtype) != ("at the bound", 1.0, F32):
            assert count == their_count


def test_norms_do_not_overflow() -> None:
    # In single precision optax drops the first example of these, and does not shrink the second.
    for dtype, large in ((F32, 1e30), (F64, 1e300)):
        grads = np.array([[large, large], [1 / large, 1 / large]], dtype)
        total, count = clip(grads, 1.0)
        np.testing.assert_allclose(total, [0.5**0.5] * 2, rtol=1e-6)
        assert count == 1
        total, count = clip(grads[1:], 1e-3 / large)
        np.testing.assert_allclose(total, [0.5**0.5 * 1e-3 / large] * 2, rtol=1e-6)
        assert count == 1


def test_mixed_dtypes_keep_theirs() -> None:
    grads: dict[str, Array] = {"a": np.full((3, 2), 3.0, F32), "b": np.full((3, 1), 4.0, F64)}
    sums, count = clip(grads, 1.0)
    assert (sums["a"].dtype, sums["b"].dtype, count) == (F32, F64, 3)
    expected, _ = reference(list(grads.values()), 1.0)
    assert_close(list(sums.values()), expected, rtol=1e-7)
    assert_close(sums["b"], expected[1], rtol=1e-15)


def test_sums_are_rounded_once() -> None:
    # Added up in single precision the small examples would be lost.
    grads = np.full((1001, 1), 1e-8, F32)
    grads[0] = 1.0
    assert clip(grads, 2.0)[0] == np.float32(1 + 1e-5)


@pytest.mark.parametrize("size", [0, 1])
def test_few_examples(size: int) -> None:
    grads = batch(1, F32, size)
    sums, count = clip(grads, 0.5)
    assert {name: leaf.shape for name, leaf in sums.items() if leaf is not None} == SHAPES
    assert count == 0
    assert all(not leaf.any() for leaf in sums.values() if leaf is not None)
    assert gm.per_example_layer_norm_clip(grads, 0.5, False)[1] == dict.fromkeys(SHAPES, 0) | {
        "none": None
    }


@pytest.mark.parametrize("tree", [None, {}, {"a": None}])
def test_trees_without_arrays(tree: Any) -> None:
    assert gm.per_example_global_norm_clip(tree, 1.0) == (tree, 0)
    assert gm.per_example_layer_norm_clip(tree, 1.0) == (tree, tree)


LAYOUTS: dict[str, Any] = {
    "fortran": np.asfortranarray,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "reversed": lambda array: array[::-1].copy()[::-1],
    "every other": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "padded rows": lambda array: np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, 3)])[..., :-3],
    "batch last": lambda array: np.moveaxis(np.moveaxis(array, 0, -1).copy(), -1, 0),
    "misaligned": lambda array: np.frombuffer(b"0" + array.tobytes(), array.dtype, -1, 1).reshape(
        array.shape
    ),
    "jax": jax.numpy.asarray,
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("dtype", [F32, F64])
def test_layout_does_not_change_the_bits(name: str, dtype: Any) -> None:
    plain = {"a": batch(3, dtype)["kernel"], "b": batch(4, dtype)["conv"]}
    with jax.enable_x64(True):
        laid_out = {key: LAYOUTS[name](leaf) for key, leaf in plain.items()}
    for key, leaf in laid_out.items():
        np.testing.assert_array_equal(leaf, plain[key])
    expected, count = clip(plain, 3.0)
    sums, same = clip(laid_out, 3.0)
    assert (bits(sums), same) == (bits(expected), count)
    assert all(leaf.flags.c_contiguous for leaf in sums.values())


def test_no_argument_is_written_to() -> None:
    grads = batch(5, F32)
    for leaf in grads.values():
        if leaf is not None:
            leaf.flags.writeable = False
    before = bits(grads)
    sums, _ = clip(grads, 1.0)
    assert bits(grads) == before
    assert not any(np.shares_memory(sums[name], grads[name]) for name in SHAPES)
    assert all(sums[name].flags.owndata for name in SHAPES)


def test_threads_and_instruction_sets_do_not_change_the_bits() -> None:
    rng = np.random.default_rng(6)
    grads: dict[str, Array] = {
        "many": rng.normal(size=(700, 411)).astype(F32),
        "long": rng.normal(size=(700, 2)),
        "strided": rng.normal(size=(300, 700)).T,
    }
    few: dict[str, Array] = {
        "one chunk and a bit": rng.normal(size=(3, (1 << 17) + 1000)).astype(F32)
    }
    for tree in (grads, few):
        found = []
        for tier in ("scalar", "avx2", "avx512"):
            for threads in (1, 2, 3):
                try:
                    _core.force(tier)
                except ValueError:
                    continue
                with gm.num_threads(threads):
                    sums, count = clip(tree, 20.0)
                    by_leaf = gm.per_example_layer_norm_clip(tree, 20.0)
                found.append((bits(sums), count, bits(by_leaf[0]), by_leaf[1]))
        assert all(other == found[0] for other in found[1:])
        expected, (count,) = reference(list(tree.values()), 20.0)
        assert_close(list(sums.values()), expected, rtol=1e-6, atol=1e-5)
        assert found[0][1] == count


@settings(max_examples=60)
@given(
    size=st.integers(0, 12),
    lengths=st.lists(st.sampled_from([0, 1, 3, 16, 255, 1024, 1025, 2100]), min_size=1, max_size=4),
    wide=st.lists(st.booleans(), min_size=4, max_size=4),
    limit=st.floats(1e-3, 1e3),
    uniform=st.sampled_from([None, True, False]),
    seed=st.integers(0, 1000),
)
def test_agrees_with_the_definition(
    size: int, lengths: list[int], wide: list[bool], limit: float, uniform: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    grads = [
        rng.normal(0, rng.exponential(3.0), (size, length)).astype(F64 if is_wide else F32)
        for length, is_wide in zip(lengths, wide, strict=False)
    ]
    sums, counts = _core.per_example_clip(grads, limit, uniform)
    if not sum(lengths):
        assert not any(counts)
        return
    expected, clipped = reference(grads, limit, uniform)
    assert counts == clipped
    assert_close(sums, expected, rtol=1e-7, atol=1e-9)


def test_transformation_equals_function() -> None:
    grads = batch(7, F32)
    for tx in (clip(2.0), clip(l2_norm_clip=2.0), clip(2.0, False)):
        assert isinstance(tx, gm.GradientTransformation)
        assert tx.description is None
        state = tx.init(None)
        assert (state.num_clipped.dtype, state.num_clipped.shape) == (np.int32, ())
        updates, state = tx.update(grads, state)
        expected, count = clip(grads, 2.0)
        assert bits(updates) == bits(expected)
        assert isinstance(state, gm.PerExampleClipState)
        assert (state.num_clipped.dtype, state.num_clipped) == (np.int32, count)
    by_name = clip(l2_norm_clip=2.0, grads=grads)
    assert (bits(by_name[0]), by_name[1]) == (bits(expected), count)
    for bound in (2, np.float32(2.0), np.array(2.0), jax.numpy.float32(2.0)):
        assert bits(clip(grads, bound)[0]) == bits(expected)
        assert bits(clip(bound).update(grads, state)[0]) == bits(expected)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_single_batch_element(dtype: Any) -> None:
    by_name = clip(l2_norm_clip=2.0, single_batch_element=True)
    for tx, scale in (
        (clip(2.0, True), 1.0),
        (clip(2.0, single_batch_element=True), 1e-4),
        (by_name, 0.0),
    ):
        grads = {
            name: leaf[0] * dtype.type(scale)
            for name, leaf in batch(8, dtype, 2).items()
            if leaf is not None
        }
        grads["kernel"] = np.asfortranarray(np.full((40, 31), scale, dtype))
        updates, state = tx.update(grads, tx.init(None))
        norm = gm.global_norm(grads)
        factor = min(2.0 / norm, 1.0) if norm else 1.0
        expected = {name: leaf.astype(F64) * factor for name, leaf in grads.items()}
        assert_close(updates, expected, rtol=1e-7)
        assert {name: leaf.shape for name, leaf in updates.items()} == SHAPES
        assert state.num_clipped == (norm > 2.0)


def test_chain_and_optimizer() -> None:
    params = {"w": np.zeros((4, 3), F32), "b": np.zeros(3, F32)}
    rng = np.random.default_rng(9)
    grads = {name: rng.normal(size=(8, *leaf.shape)).astype(F32) for name, leaf in params.items()}
    tx = gm.chain(clip(1.5), gm.scale(1 / 8), gm.adam(0.1))
    total, count = clip(grads, 1.5)
    mean = {name: leaf / 8 for name, leaf in total.items()}
    expected, _ = gm.adam(0.1).update(mean, gm.adam(0.1).init(params), params)
    updates, state = tx.update(grads, tx.init(params), params)
    assert_close(updates, expected, rtol=1e-6)
    assert state[0].num_clipped == count == 8
    opt = gm.Optimizer(tx, {name: leaf.copy() for name, leaf in params.items()})
    opt.step(grads)
    assert_close(opt.params, expected, rtol=1e-6)
    assert opt.state[0].num_clipped == count


GRADS = {"a": np.ones((2, 3), F32)}
NEITHER: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "nothing": ((), {}),
    "gradients alone": ((GRADS,), {}),
    "gradients by name alone": ((), {"grads": GRADS}),
    "two numbers": ((1.0, 2.0), {}),
    "number first, bound by name": ((1.0,), {"l2_norm_clip": 2.0}),
    "bool bound": ((GRADS, True), {}),
    "no number as bound": ((GRADS, "1"), {}),
    "bound by name is no number": ((), {"l2_norm_clip": None}),
    "gradients as one example": ((GRADS, 1.0, True), {}),
    "both bools": ((1.0, True, True), {}),
    "no bool": ((1.0,), {"single_batch_element": 1}),
    "a bool alone": ((True,), {}),
    "a 0-d array as gradients": ((np.float32(1.0), 1.0), {}),
    "nothing but bools": ((True, False), {}),
}


@pytest.mark.parametrize("name", NEITHER)
def test_neither_form(name: str) -> None:
    args, kwargs = NEITHER[name]
    forms = r"\(l2_norm_clip, single_batch_element=False\).*\(grads, l2_norm_clip\)"
    with pytest.raises(TypeError, match=forms):
        clip(*args, **kwargs)


def test_layers_take_a_number() -> None:
    with pytest.raises(TypeError, match="global_l2_norm_clip must be a real number, got None"):
        gm.per_example_layer_norm_clip(GRADS, None)  # type: ignore[arg-type]  # on purpose


BAD = {
    "no batch axis": (np.ones(()), LeafValueError, r"\['x'\]\['bad'\]: has no batch axis"),
    "a number": (1.0, LeafValueError, r"\['x'\]\['bad'\]: has no batch axis"),
    "other batch": (
        np.ones((3, 3)),
        LeafValueError,
        r"\['x'\]\['bad'\]: has 3 examples, leaves before it have 2",
    ),
    "integers": (np.ones((2, 3), int), LeafTypeError, r"\['x'\]\['bad'\]: dtype int64"),
    "masked": (np.ma.ones((2, 3)), LeafTypeError, r"\['x'\]\['bad'\]: is a masked array"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_leaves(name: str) -> None:
    bad, error, match = BAD[name]
    tree = {"a": np.ones((2, 4), F32), "x": {"bad": bad}}
    with pytest.raises(error, match="^grads" + match):
        clip(tree, 1.0)
    with pytest.raises(error, match="^grads" + match):
        gm.per_example_layer_norm_clip(tree, 1.0)
    tx = clip(1.0)
    with pytest.raises(error, match="^updates" + match):
        tx.update(tree, tx.init(None))
