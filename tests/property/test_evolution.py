"""Noise of evolution strategies, against that which is drawn and then added up in float64."""

from __future__ import annotations

from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradmill as gm
from gradmill import evolution
from gradmill.errors import LeafTypeError, LeafValueError, TreeError
from tests.tiers import available_tiers, force
from tests.trees import bits, copy_tree, random_tree

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
SHAPES = [(), (0, 3), (7,), (64, 65), (3, 4097), (1, 1024)]
LAYOUTS: dict[str, Any] = {
    "c": lambda leaf: leaf,
    "fortran": lambda leaf: np.array(leaf, order="F"),
    "strided": lambda leaf: np.repeat(leaf, 2, axis=-1)[..., ::2] if leaf.ndim else leaf,
    "reversed": lambda leaf: leaf[::-1].copy()[::-1] if leaf.ndim else leaf,
}


def noise(params: Any, seed: Any) -> list[Any]:
    """The noise of a seed in float64: drawn in float64 for such leaves, in float32 for others."""
    narrow = gm.tree.random_like(seed, params, dtype=np.float32)
    wide = gm.tree.random_like(seed, params, dtype=np.float64)
    pairs = zip(params, narrow, wide, strict=True)
    return [np.float64(w if leaf.dtype == np.float64 else n) for leaf, n, w in pairs]


def rounded(values: Any, dtype: Any) -> Any:
    """Numbers of float64, rounded once; ml_dtypes goes by float32, and so rounds twice."""
    if dtype == ml_dtypes.bfloat16:
        single = np.float32(values)
        is_tie = (single.view(np.uint32) & 0xFFFF == 0x8000) & (single != values)
        values = np.where(
            is_tie, np.nextafter(single, np.float32(np.sign(values - single) * 1e38)), single
        )
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(dtype)


leaves = st.lists(
    st.tuples(st.sampled_from(DTYPES), st.sampled_from(SHAPES), st.sampled_from(sorted(LAYOUTS))),
    min_size=1,
    max_size=4,
)


def drawn(kinds: Any, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [LAYOUTS[lay](rng.normal(size=shape).astype(dtype)) for dtype, shape, lay in kinds]


@given(leaves, st.integers(-(2**40), 2**40), st.floats(-3, 3), st.sampled_from([1, 3]))
def test_perturbed_parameters(kinds: Any, seed: int, sigma: float, threads: int) -> None:
    params = drawn(kinds, 0)
    before = copy_tree(params)
    zs = noise(params, seed)
    expected = [
        rounded(np.float64(leaf) + sigma * z, leaf.dtype)
        for leaf, z in zip(params, zs, strict=True)
    ]
    with gm.num_threads(threads):
        found = evolution.perturb(params, seed, sigma)
        mine = drawn([(np.float64, shape, lay) for _, shape, lay in kinds], 1)
        assert evolution.perturb(params, seed, sigma, out=mine) is mine
        assert bits(params) == bits(before)
        assert bits(found) == bits(expected)
        assert evolution.perturb(params, seed, sigma, out=params) is params
    assert bits(params) == bits(expected)
    wide = [np.float64(leaf) + sigma * z for leaf, z in zip(before, zs, strict=True)]
    assert bits(mine) == bits(wide)


@given(
    leaves,
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(-9, 9)), min_size=1, max_size=9),
    st.floats(0.01, 3),
    st.booleans(),
    st.sampled_from([1, 3]),
)
def test_estimated_gradients(
    kinds: Any, pairs: Any, sigma: float, antithetic: bool, threads: int
) -> None:
    params = drawn(kinds, 0)
    seeds, scores = [seed for seed, _ in pairs], np.array([score for _, score in pairs])
    if antithetic:
        scores = np.concatenate([scores, np.sin(scores)])
    expected = [np.zeros(leaf.shape) for leaf in params]
    own = scores[: len(seeds)] - (scores[len(seeds) :] if antithetic else 0)
    for seed, score in zip(seeds, own, strict=True):
        for total, z in zip(expected, noise(params, seed), strict=True):
            np.add(total, score / (len(scores) * sigma) * z, out=total)
    with gm.num_threads(threads):
        found = evolution.gradient(params, seeds, scores, sigma, antithetic=antithetic)
        mine = [np.empty(leaf.shape) for leaf in params]
        args = params, seeds, list(scores), sigma
        assert evolution.gradient(*args, antithetic=antithetic, out=mine) is mine
    assert bits(mine) == bits(expected)
    pairs_of = zip(expected, params, strict=True)
    assert bits(found) == bits([rounded(total, leaf.dtype) for total, leaf in pairs_of])


def test_the_numbers_of_jax() -> None:
    jax = pytest.importorskip("jax", reason="needs JAX, to compare with")
    params: Any = {"b": np.zeros(5, np.float32), "a": np.zeros((70, 30), np.float32), "n": None}
    keys = jax.random.split(jax.random.key(7), 2)
    found = evolution.perturb(params, 7, 1.0)
    for key, name in zip(keys, ("a", "b"), strict=True):
        expected = jax.random.normal(key, params[name].shape)
        np.testing.assert_allclose(found[name], expected, 2e-6, 1e-7)
    assert found["n"] is None


@pytest.mark.parametrize("tier", available_tiers())
def test_the_same_bits_on_any_instruction_set(tier: str) -> None:
    params = random_tree(0)
    seeds, scores = range(5), np.arange(5.0)

    def both() -> Any:
        perturbed = evolution.perturb(params, 3, 0.1)
        return bits((perturbed, evolution.gradient(params, seeds, scores, 0.1)))

    expected = both()
    assert force(tier)
    assert both() == expected


def test_the_same_bits_on_many_threads() -> None:
    params = {"a": np.zeros((300, 1001), np.float32), "b": np.zeros(5), "c": np.zeros(70_000)}
    seeds, scores = range(9), np.linspace(-1, 1, 9)
    results = set()
    for threads in (1, 2, 5):
        with gm.num_threads(threads):
            found = evolution.gradient(params, seeds, scores, 0.1)
            results.add(str(bits((found, evolution.perturb(params, 1, 0.1)))))
    assert len(results) == 1


def test_forms_of_seeds() -> None:
    params = np.zeros(4)
    sequence = np.random.SeedSequence(3)
    same = [
        (5, np.array([0, 5], np.uint32)),
        (-1, 2**32 - 1),
        (sequence, np.array(sequence.generate_state(2))),
    ]
    for first, second in same:
        left, right = (evolution.perturb(params, seed, 1.0) for seed in (first, second))
        assert bits(left) == bits(right)
    keys: Any = np.array([[0, 1], [0, 2]], np.uint32)
    expected = evolution.gradient(params, [1, 2], [1.0, 2.0], 0.1)
    assert bits(evolution.gradient(params, keys, [1.0, 2.0], 0.1)) == bits(expected)
    assert bits(evolution.gradient(params, range(1, 3), (1, 2), 0.1)) == bits(expected)


def test_a_pair_is_opposite() -> None:
    zeros = np.zeros(100)
    assert (evolution.perturb(zeros, 1, -0.3) == -evolution.perturb(zeros, 1, 0.3)).all()
    scores = [[1.0, 2.0], [3.0, 5.0]]
    pairs = evolution.gradient(zeros, [1, 2], scores, 0.1, antithetic=True)
    assert bits(pairs) == bits(evolution.gradient(zeros, [1, 2], [-1.0, -1.5], 0.1))


X: Any = "x"
P = {"a": np.ones(2), "b": np.ones(3, np.float32)}
WRONG: list[tuple[Any, Any, str]] = [
    (lambda: evolution.perturb(P, X, 1.0), TypeError, "perturb takes an integer seed"),
    (lambda: evolution.perturb(P, 1, X), TypeError, "sigma"),
    (lambda: evolution.perturb(P, 1, np.nan), ValueError, "sigma"),
    (lambda: evolution.perturb([np.ones(2, int)], 1, 1.0), LeafTypeError, r"params\[0\]: dtype"),
    (lambda: evolution.gradient(P, [], [], 0.1), ValueError, "got 0 for 0"),
    (lambda: evolution.gradient(P, [1], [1, 2], 0.1), ValueError, "got 2 for 1"),
    (
        lambda: evolution.gradient(P, [1], [1], 0.1, antithetic=True),
        ValueError,
        "two for each seed, got 1 for 2",
    ),
    (lambda: evolution.gradient(P, [1], [np.inf], 0.1), ValueError, "not finite"),
    (lambda: evolution.gradient(P, [1], [1], 0.0), ValueError, "sigma"),
    (lambda: evolution.gradient(P, [None], [1], 0.1), TypeError, "gradient takes"),
    (lambda: evolution.gradient([[1j]], [1], [1], 0.1), LeafTypeError, r"params\[0\]\[0\]"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG, ids=range(len(WRONG)))
def test_what_is_refused(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_what_cannot_be_written() -> None:
    fixed, both = np.zeros(2), np.zeros(4)
    fixed.flags.writeable = False
    params = {"a": np.ones(3), "b": np.ones(2)}
    outs: list[tuple[Any, Any, str]] = [
        ({"a": np.zeros(3), "b": fixed}, LeafValueError, r"out\['b'\].*read-only"),
        ({"a": np.zeros(3), "b": np.zeros(3)}, LeafValueError, r"out\['b'\]: shape \(3,\)"),
        ({"a": both[:3], "b": both[2:]}, LeafValueError, r"out\['b'\]: shares .* out\['a'\]"),
        ({"a": np.zeros(3), "b": [0.0, 0.0]}, TreeError, r"out\['b'\]"),
        ({"a": np.zeros(3), "b": None}, (LeafTypeError, TreeError), r"out\['b'\]"),
        ({"a": np.zeros(3), "b": np.zeros(2, int)}, LeafTypeError, r"out\['b'\]: dtype int64"),
    ]
    for out, error, message in outs:
        kept = copy_tree(out)
        calls: list[Any] = [
            partial(evolution.perturb, params, 1, 0.1, out=out),
            partial(evolution.gradient, params, [1], [1.0], 0.1, out=out),
        ]
        for call in calls:
            with pytest.raises(error, match=message):
                call()
        assert bits(out["a"]) == bits(kept["a"])
    shared = {"a": np.ones(3), "b": params["a"][:2]}
    with pytest.raises(LeafValueError, match=r"params\['a'\]: shares memory"):
        evolution.perturb(params, 1, 0.1, out=shared)
    assert all((leaf == 1).all() for leaf in params.values())
