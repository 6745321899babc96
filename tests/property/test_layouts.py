"""The order in which axes lie in memory changes no bit, whichever arrays of a leaf have which."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradmill as gm
from tests.property.strategies import chains
from tests.trees import bits

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
MOST = 1 << 16
"""Elements of a drawn array: more than one box has."""


def permuted(array: Any, order: Any) -> Any:
    """A copy with the axes in this order in memory."""
    return np.array(array.transpose(order), order="C").transpose(np.argsort(order))


@st.composite
def shapes_and_orders(draw: Any) -> tuple[tuple[int, ...], list[Any]]:
    """A shape, and orders for the parameter and for three gradients."""
    shape: list[int] = []
    for _ in range(draw(st.integers(2, 5))):
        room = MOST // int(np.prod(shape, dtype=int))
        small = st.sampled_from([1, 3, 4, 9, 16, 37, 64])
        long = st.sampled_from([256, 300, 512, 1000])
        shape.append(min(room, draw(small if len(shape) > 1 else small | long)))
    shape = draw(st.permutations(shape))
    orders = [draw(st.permutations(range(len(shape)))) for _ in range(4)]
    return tuple(shape), orders


def arrays(shape: Any, seed: int, dtype: Any) -> list[Any]:
    """A parameter and three gradients, with what is no ordinary number among them."""
    rng = np.random.default_rng(seed)
    drawn = [rng.standard_normal(shape).astype(dtype) for _ in range(4)]
    for array in drawn[1:]:
        at = rng.integers(0, array.size, 4)
        array.reshape(-1)[at] = np.array([0.0, -0.0, 1e-7, 6e4]).astype(dtype)
    return drawn


@settings(max_examples=max(settings().max_examples // 2, 1))
@given(
    tx=chains,
    drawn=shapes_and_orders(),
    seed=st.integers(0, 2**32 - 1),
    dtypes=st.sampled_from([(dtype, dtype) for dtype in DTYPES] + [(np.float32, np.float16)]),
    rounding=st.sampled_from(["nearest", "stochastic"]),
)
def test_orders_of_axes_give_the_same_bits(
    tx: Any, drawn: Any, seed: int, dtypes: Any, rounding: Any
) -> None:
    shape, (of_param, *of_grads) = drawn
    param = arrays(shape, seed, dtypes[0])[0]
    grads = arrays(shape, seed, dtypes[1])[1:]
    options: dict[str, Any] = {"rounding": rounding, "seed": 1} if rounding == "stochastic" else {}
    plain = gm.Optimizer(tx, param.copy(), **options)
    opt = gm.Optimizer(tx, permuted(param, of_param), **options)
    pure, state = permuted(param, of_param), tx.init(permuted(param, of_param))
    expected, of_plain = param.copy(), tx.init(param)
    for grad, order in zip(grads, of_grads, strict=True):
        plain.step(grad)
        opt.step(permuted(grad, order))
        assert bits(opt.params) == bits(plain.params)
        assert bits(opt.state) == bits(plain.state)
        updates, of_plain = tx.update(grad, of_plain, expected)
        expected = gm.apply_updates(expected, updates)
        updates, state = tx.update(permuted(grad, order), state, pure)
        pure = gm.apply_updates(pure, updates)
        assert bits((pure, state)) == bits((expected, of_plain))


LONG = [(600, 600), (3, 120_000), (120_000, 3), (256, 256, 3, 2), (7, 5, 70, 40, 4), (1024, 1024)]
"""Longer than a chunk, and long enough for several threads."""


@pytest.mark.parametrize("shape", LONG, ids=str)
@pytest.mark.parametrize("clips", [False, True])
def test_long_leaves(shape: tuple[int, ...], clips: bool) -> None:
    tx = gm.adamw(1e-2, weight_decay=0.1)
    tx = gm.chain(gm.clip_by_global_norm(0.5), tx) if clips else tx
    param, *grads = arrays(shape, 0, np.float32)
    plain = gm.Optimizer(tx, param.copy())
    orders = [range(len(shape)), range(len(shape))[::-1], np.roll(range(len(shape)), 1)]
    pairs = [(a, b) for a in orders for b in orders]
    opts = [gm.Optimizer(tx, permuted(param, order)) for order, _ in pairs]
    for grad in grads:
        plain.step(grad)
        for number, (opt, (_, order)) in enumerate(zip(opts, pairs, strict=True)):
            with gm.num_threads(1 + number % 3):
                opt.step(permuted(grad, order))
            assert bits(opt.params) == bits(plain.params)
            assert bits(opt.state) == bits(plain.state)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_master_copies(dtype: Any) -> None:
    """Parameters, their masters and gradients each in an order of their own."""
    param, *grads = arrays((40, 50, 30), 3, dtype)
    plain = gm.Optimizer(gm.adam(1e-2), param.copy(), master=True)
    opt = gm.Optimizer(gm.adam(1e-2), permuted(param, (2, 1, 0)), master=True)
    for grad in grads:
        plain.step(grad)
        opt.step(permuted(grad, (1, 2, 0)))
        assert bits((opt.params, opt.master, opt.state)) == bits(
            (plain.params, plain.master, plain.state)
        )
