"""Gradients that a step zeroes as it reads them: no bit of the step changes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradmill as gm
from gradmill.errors import LeafValueError
from tests.property.strategies import chains
from tests.trees import bits, copy_tree, random_tree

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
LAYOUTS = ["dense", "fortran", "strided", "reversed", "swapped", "subclass"]


class Array(np.ndarray):
    """No array of NumPy's own."""


def laid(values: Any, layout: str) -> Any:
    """These values in an array that lies so."""
    if layout == "fortran":
        return np.array(values, order="F")
    if layout == "strided":
        return np.repeat(values, 2, axis=-1)[..., ::2]
    if layout == "reversed":
        return np.ascontiguousarray(values[::-1])[::-1]
    if layout == "swapped" and values.dtype != ml_dtypes.bfloat16:
        return values.astype(values.dtype.newbyteorder())
    return values.copy().view(Array) if layout == "subclass" else values.copy()


def tree(seed: int, layout: str, dtype: Any) -> dict[str, Any]:
    """Leaves of which one is longer than what is walked over at once."""
    rng = np.random.default_rng(seed)
    shapes = {"long": (401, 503), "short": (7, 12), "none": (0,), "one": (1,)}
    leaves = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    return {name: laid(leaf.astype(dtype), layout) for name, leaf in leaves.items()}


CHAINS: dict[str, Any] = {
    "one pass": lambda: gm.adamw(0.1),
    "norm first": lambda: gm.chain(gm.clip_by_global_norm(0.5), gm.adam(0.1)),
    "carried": lambda: gm.chain(gm.trace(0.9), gm.clip_by_global_norm(0.5), gm.adam(0.1)),
    "units": lambda: gm.lamb(0.1),
    "noise": lambda: gm.chain(gm.add_noise(0.1, 0.5, 3), gm.sgd(0.1)),
    "skipped": lambda: gm.apply_if_finite(gm.adam(0.1), 3),
    "by Python": lambda: gm.chain(gm.stateless(lambda u, _: u), gm.adam(0.1)),
    "kept back": lambda: gm.MultiSteps(gm.adam(0.1), 2),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chain", CHAINS)
def test_zeros_and_the_same_bits(chain: str, layout: str, dtype: Any) -> None:
    tx = CHAINS[chain]()
    plain = gm.Optimizer(tx, tree(0, "dense", dtype))
    spent = gm.Optimizer(tx, tree(0, "dense", dtype))
    for seed, threads in ((1, 1), (2, 3)):
        grads = tree(seed, layout, dtype)
        grads["short"][0, 0] = np.inf if chain == "skipped" and seed == 1 else 1.0
        with gm.num_threads(threads):
            plain.step(copy_tree(grads))
            spent.step(grads, zero_grads=True)
        assert not any(leaf.any() for leaf in grads.values())
        assert bits((spent.params, spent.state)) == bits((plain.params, plain.state))


@pytest.mark.parametrize("layout", ["dense", "fortran", "strided"])
def test_the_elements_between_stay(layout: str) -> None:
    opt = gm.Optimizer(gm.adam(0.1), np.zeros((300, 500)))
    around = np.ones((302, 1002))
    grad = around[1:-1, 1:501] if layout == "dense" else around[1:-1, 1:1001:2]
    grad = np.ones((500, 302)).T[1:-1] if layout == "fortran" else grad
    opt.step(grad, zero_grads=True)
    assert not grad.any()
    base = grad.base
    assert base is not None
    assert base.sum() == base.size - grad.size


@settings(max_examples=max(settings().max_examples // 2, 1))
@given(tx=chains, threads=st.sampled_from([1, 2]), measures=st.booleans())
def test_any_chain(tx: Any, threads: int, measures: bool) -> None:
    plain, spent = (gm.Optimizer(tx, random_tree(0)) for _ in range(2))
    report = ["update_norm"] if measures else []
    for seed in (1, 2):
        grads = random_tree(seed)
        with gm.num_threads(threads):
            plain.step(copy_tree(grads))
            spent.step(grads, zero_grads=True, report=report)
        assert not any(leaf.any() for leaf in grads.values() if leaf is not None)
        assert bits((spent.params, spent.state)) == bits((plain.params, plain.state))


def test_leaves_that_no_step_reads() -> None:
    frozen = gm.masked(gm.adam(0.1), {"a": True, "b": False})
    tx = gm.chain(frozen, gm.masked(gm.set_to_zero(), {"a": False, "b": True}))
    for each in (frozen, tx):
        opt = gm.Optimizer(each, {"a": np.ones(3), "b": np.ones(3)})
        grads = {"a": np.ones(3), "b": np.ones(3)}
        opt.step(grads, zero_grads=True)
        assert not grads["a"].any()
        assert not grads["b"].any()


def test_gradients_between_the_parameters() -> None:
    both = np.ones((100, 2))
    opt = gm.Optimizer(gm.sgd(0.5), both[:, 0])
    opt.step(both[:, 1], zero_grads=True)
    assert (both == [0.5, 0.0]).all()


@pytest.mark.parametrize("chain", CHAINS)
def test_a_step_that_raises_leaves_them(chain: str) -> None:
    shared, fixed = np.ones(5), np.ones(5)
    fixed.flags.writeable = False
    twice = np.lib.stride_tricks.as_strided(np.ones(5), (5,), (0,))
    wrong: list[tuple[Any, Any, str]] = [
        (shared[:5], shared[::-1], "shares memory with"),
        (np.ones(5), fixed, "read-only"),
        (np.ones(5), twice, "one element twice"),
        (np.ones(5), np.ones(6), "shape"),
    ]
    opt = gm.Optimizer(CHAINS[chain](), {"a": np.ones(5), "b": np.ones(5)})
    before = bits((opt.params, opt.state))
    # Those that members in Python take are zeroed behind the step, be they shared or not.
    ours = chain not in ("by Python", "kept back")
    for first, second, message in wrong if ours else wrong[1::2]:
        with pytest.raises(LeafValueError, match=message) as caught:
            opt.step({"a": first, "b": second}, zero_grads=True)
        assert "['b']" in str(caught.value)
        assert first.all()
        assert second.all()
    assert bits((opt.params, opt.state)) == before
    opt.step({"a": shared, "b": np.ones(5)})
    assert shared.all()
