"""Where algorithms of papers are safe here and those of optax are not; docs/deviations.md."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import optax
import pytest

import gradmill as gm
from tests.on_jax import to_jax
from tests.parity.test_deviations import of_both, row

F16, F32, BF16 = np.float16, np.float32, ml_dtypes.bfloat16

ESTIMATORS = ["prodigy", "dadapt_adamw"]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimates_from_gradients_of_zero(name: str) -> None:
    theirs, ours = of_both(lambda module: getattr(module.contrib, name)(), row(0, 0, 1), row(1)[0])
    assert math.isnan(theirs[1])
    assert math.isnan(theirs[2])
    assert ours[:2] == [0, 0]
    assert -1e-5 < ours[2] < 0


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimates_in_float16(name: str) -> None:
    grads = row(*[1] * 100, dtype=F16)
    theirs, ours = of_both(lambda m: getattr(m.contrib, name)(), grads, row(1, dtype=F16)[0])
    assert math.isnan(theirs[-1])
    _, exact = of_both(lambda m: getattr(m.contrib, name)(), row(*[1] * 100), row(1)[0])
    assert ours == exact


@pytest.mark.parametrize("preconditioning", ["frobenius", "aol", "schatten"])
def test_matrices_of_large_numbers(preconditioning: Any) -> None:
    grads = np.asarray(np.random.default_rng(0).normal(size=(4, 3)), F32)
    theirs, ours = (
        module.contrib.scale_by_muon(preconditioning=preconditioning) for module in (optax, gm)
    )
    large = grads * np.float32(2.0**83)
    expected, _ = ours.update(grads, ours.init(grads))
    np.testing.assert_array_equal(ours.update(large, ours.init(grads))[0], expected)
    there = np.asarray(theirs.update(to_jax(large), theirs.init(to_jax(grads)))[0])
    assert np.isnan(there).all() or not there.any()
