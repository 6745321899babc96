"""Sums of trees with weights, and averages that are kept in place."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradmill as gm
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from tests.tiers import available_tiers, force
from tests.trees import bits, copy_tree, random_tree

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
LAYOUTS: dict[str, Any] = {
    "c": lambda leaf: leaf,
    "fortran": lambda leaf: np.array(leaf, order="F"),
    "strided": lambda leaf: np.repeat(leaf, 2, axis=-1)[..., ::2] if leaf.ndim else leaf,
    "reversed": lambda leaf: leaf[::-1].copy()[::-1] if leaf.ndim else leaf,
    "swapped": lambda leaf: (
        leaf.astype(leaf.dtype.newbyteorder()) if leaf.dtype.kind == "f" else leaf
    ),
}


def exact(terms: list[Any], weights: list[float]) -> Any:
    total = np.zeros(np.shape(terms[0]))
    for term, weight in zip(terms, weights, strict=True):
        total = total + weight * np.asarray(term, np.float64)
    return total


@given(
    st.lists(
        st.tuples(st.sampled_from(DTYPES), st.sampled_from(sorted(LAYOUTS))),
        min_size=1,
        max_size=19,
    ),
    st.sampled_from([(), (0, 3), (7,), (64, 65), (3, 4097)]),
    st.integers(0, 2**16),
    st.sampled_from([1, 3]),
)
def test_the_sum_in_double_precision(kinds: Any, shape: Any, seed: int, threads: int) -> None:
    rng = np.random.default_rng(seed)
    terms = [LAYOUTS[layout](rng.normal(size=shape).astype(dtype)) for dtype, layout in kinds]
    weights = list(rng.normal(size=len(terms)))
    with gm.num_threads(threads):
        (total,) = gm.weighted_sum([[term] for term in terms], weights)
        mine = np.zeros(shape)
        assert gm.weighted_sum(terms, weights, out=mine) is mine
    assert bits(mine) == bits(exact(terms, weights))
    assert bits(total) == bits(exact(terms, weights).astype(total.dtype))


def test_the_widest_dtype() -> None:
    def of(*dtypes: Any) -> Any:
        return gm.weighted_sum([np.ones(2, dtype) for dtype in dtypes], [1.0] * len(dtypes)).dtype

    assert of(np.float16) == np.float16
    assert of(np.float16, ml_dtypes.bfloat16) == np.float32
    assert of(ml_dtypes.bfloat16, np.float32) == np.float32
    assert of(np.float32, np.float64) == np.float64


@pytest.mark.parametrize("tier", available_tiers())
def test_the_same_bits_on_any_instruction_set(tier: str) -> None:
    trees = [random_tree(seed) for seed in range(11)]
    trees[3]["kernel"][0, :4] = [np.nan, np.inf, -0.0, 1e-42]
    weights = list(np.linspace(-1, 2, 11))
    expected = bits(gm.weighted_sum(trees, weights))
    assert force(tier)
    assert bits(gm.weighted_sum(trees, weights)) == expected


def test_arguments_are_left_alone() -> None:
    trees = [random_tree(seed) for seed in range(3)]
    before = copy_tree(trees)
    gm.weighted_sum(trees, (0.5, 0.25, 0.25))
    assert bits(trees) == bits(before)


WRONG: list[tuple[Any, Any, Any, str]] = [
    ([], [], ValueError, "a weight for each tree"),
    ([np.ones(2)], [1.0, 2.0], ValueError, "got 2 for 1"),
    ([np.ones(2)], ["1"], TypeError, r"weights\[0\]"),
    ([np.ones(2)], [np.nan], ValueError, r"weights\[0\]"),
    ([{"a": np.ones(2)}, {"b": np.ones(2)}], [1, 1], TreeError, r"trees\[1\]"),
    ([{"a": np.ones(2)}, {"a": np.ones(3)}], [1, 1], LeafValueError, r"trees\[1\]\['a'\]: shape"),
    ([{"a": np.ones(2)}, {"a": None}], [1, 1], (LeafTypeError, TreeError), r"trees\[1\]\['a'\]"),
    ([{"a": None}, {"a": np.ones(2)}], [1, 1], (LeafTypeError, TreeError), r"trees\[1\]\['a'\]"),
    ([[np.ones(2)], [np.ones(2, int)]], [1, 1], LeafTypeError, r"trees\[1\]\[0\]: dtype int64"),
    ([["x"]], [1], LeafTypeError, r"trees\[0\]\[0\]"),
]


@pytest.mark.parametrize(("trees", "weights", "error", "message"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_summed(trees: Any, weights: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        gm.weighted_sum(trees, weights)


def test_what_cannot_be_written() -> None:
    trees = [[np.ones(4), np.ones(2)], [np.ones(4), np.ones(2)]]
    fixed = np.zeros(2)
    fixed.flags.writeable = False
    both = np.zeros(4)
    outs: list[tuple[Any, Any, str]] = [
        ([np.zeros(4), fixed], LeafValueError, r"out\[1\].*read-only"),
        ([np.zeros(4), np.zeros(3)], LeafValueError, r"shape \(2,\), the sum has \(3,\)"),
        ([both, both[:2]], LeafValueError, r"out\[1\]: shares memory with out\[0\]"),
        ([np.zeros(4), trees[1][0][:2]], LeafValueError, r"trees\[1\]\[0\]: shares memory"),
        ([np.zeros(4), [0.0, 0.0]], TreeError, r"out\[1\]"),
        ([np.zeros(4), np.zeros(2, int)], LeafTypeError, r"out\[1\]: dtype int64"),
    ]
    before = copy_tree(trees)
    for out, error, message in outs:
        kept = copy_tree(out[0])
        with pytest.raises(error, match=message):
            gm.weighted_sum(trees, [1.0, 2.0], out=out)
        assert bits(out[0]) == bits(kept)
    assert bits(trees) == bits(before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_average_in_place(dtype: Any) -> None:
    new, old, other = random_tree(0, dtype), random_tree(1, dtype), random_tree(2, dtype)
    expected = gm.incremental_update(new, old, 0.25)
    gm.incremental_update(new, old, 0.25, out=other)
    assert gm.incremental_update(new, old, 0.25, out=old) is old
    assert bits(old) == bits(other)
    for name, leaf in expected.items():
        if leaf is not None:
            wide = np.float64(leaf), np.float64(old[name])
            step = float(ml_dtypes.finfo(dtype).eps)
            np.testing.assert_allclose(*wide, rtol=2 * step, atol=step)


def test_an_average_in_place_of_what_overlaps() -> None:
    array = np.ones(5)
    with pytest.raises(LeafValueError, match="new_tensors: shares memory"):
        gm.incremental_update(array[:4], array[1:], 0.5, out=array[1:])
    old = array[1:]
    with pytest.raises(LeafValueError, match="shares memory"):
        gm.incremental_update(array[:4], old, 0.5, out=old)
    assert (array == 1).all()
