"""No array of a state holds a subnormal number: they would slow down each later step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradmill as gm
from gradmill._data.trees import flatten
from tests.cases import CASES, Case
from tests.trees import SHAPES, copy_tree

STEPS = 40
# From numbers whose squares are normal to subnormal ones, a few percent from one to the next: what
# decays by a thousandth in a step crosses the bound as well as what halves.
RANGES = {np.float32: (1e-15, 1e-42), np.float64: (1e-145, 1e-315)}


def tiny_tree(seed: int, dtype: Any) -> dict[str, Any]:
    """Numbers of either sign, whose leaf ``kernel`` is longer than in other trees."""
    rng = np.random.default_rng(seed)
    largest, least = RANGES[dtype]

    def leaf(*shape: int) -> Any:
        size = int(np.prod(shape))
        numbers = np.geomspace(largest, least, size) * rng.choice([-1, 1], size)
        return np.asarray(rng.permutation(numbers).reshape(shape), dtype)

    leaves: dict[str, Any] = {name: leaf(*shape) for name, shape in SHAPES.items()}
    return {**leaves, "kernel": leaf(400, 7), "none": None}


def subnormal(state: Any) -> list[Any]:
    """Those that are there."""
    leaves = [leaf for leaf in flatten(state)[0] if isinstance(leaf, np.ndarray)]
    found = []
    for dtype in RANGES:
        own = [leaf.ravel() for leaf in leaves if leaf.dtype == dtype]
        numbers = np.concatenate(own) if own else np.zeros(0, dtype)
        small = np.abs(numbers) < np.finfo(numbers.dtype).smallest_normal
        found += numbers[small & (numbers != 0)].tolist()
    return found


@pytest.mark.parametrize("dtype", RANGES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_states_fade_to_zero(case: Case, dtype: Any) -> None:
    """Tiny gradients, then none; parameters are tiny too, for what decays them."""
    tx, params = case.make(gm), tiny_tree(0, dtype)
    opt = gm.Optimizer(tx, copy_tree(params))
    state = tx.init(params)
    zeros = {name: None if leaf is None else np.zeros_like(leaf) for name, leaf in params.items()}
    for step in range(STEPS):
        grads = tiny_tree(step + 1, dtype) if step < 3 else zeros
        _, state = tx.update(grads, state, params)
        opt.step(grads)
        assert not subnormal(state), f"functional, step {step}"
        assert not subnormal(opt.state), f"in place, step {step}"


def test_without_that_they_would_not() -> None:
    """The gradients are such that each kind of average passes through the range."""
    for decay in (0.5, 0.9, 0.999):
        mean: Any = np.zeros((400, 7), np.float32)
        met = False
        for step in range(STEPS):
            given = tiny_tree(step + 1, np.float32)["kernel"] if step < 3 else np.float32(0)
            mean = np.float32(decay) * mean + np.float32(1 - decay) * given**2
            met = met or bool(subnormal({"mean": mean}))
        assert met, decay
