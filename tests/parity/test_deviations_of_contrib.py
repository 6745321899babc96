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


@pytest.mark.parametrize(
    "make",
    [
        lambda module: module.contrib.scale_by_madgrad(0.1, eps=0.0),
        lambda module: module.contrib.scale_by_cocob(eps=0.0),
        lambda module: module.contrib.dowg(eps=0.0),
        lambda module: module.contrib.normalize(),
    ],
)
def test_gradients_of_zero_without_epsilon(make: Any) -> None:
    theirs, ours = of_both(make, row(0, 1), row(1)[0])
    assert math.isnan(theirs[0])
    assert ours[0] == 0
    assert math.isfinite(ours[1])


def test_cocob_in_float16() -> None:
    grads, params = row(0, 1, dtype=F16), row(1, dtype=F16)[0]
    theirs, ours = of_both(lambda module: module.contrib.scale_by_cocob(), grads, params)
    assert math.isnan(theirs[0])
    assert ours == [0, pytest.approx(-0.01)]


def test_madgrad_at_the_last_count() -> None:
    """The number of the step is one more, which is negative in int32."""
    late = np.asarray(2**31 - 1, np.int32)
    theirs_tx, ours_tx = (m.contrib.scale_by_madgrad(0.1) for m in (optax, gm))
    grads = np.ones(1, F32)
    state: Any = theirs_tx.init(to_jax(grads))._replace(count=to_jax(late))
    theirs, _ = theirs_tx.update(to_jax(grads), state, to_jax(grads))
    ours, _ = ours_tx.update(grads, ours_tx.init(grads)._replace(count=late), grads)
    assert np.isnan(theirs).all()
    assert np.isfinite(ours).all()


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
