"""Doubles that a call hands out as words."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradmill.jax import _call
from tests.jax.versions import MIXES_DTYPES

VALUES = np.array(
    [0.0, -0.0, 1.0, -1.5, 1 / 3, 2.0 - 2**-30, 3.4e38, 1e39, -1e300, 1e-40, -np.inf, np.nan, 1e-37]
)


@pytest.mark.skipif(not MIXES_DTYPES, reason="this JAX has no doubles beside float32")
def test_doubles() -> None:
    found = jax.jit(_call.doubles)(jnp.asarray(VALUES.view(np.uint32)))
    np.testing.assert_array_equal(np.asarray(found), VALUES)


def test_in_float32_where_there_are_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(jax, "enable_x64", raising=False)
    with np.errstate(over="ignore"):
        expected: Any = VALUES.astype(np.float32)
    expected[np.abs(expected) < np.finfo(np.float32).tiny] *= 0
    found = np.asarray(_call.doubles(jnp.asarray(VALUES.view(np.uint32))))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    assert (np.signbit(found) == np.signbit(expected))[~np.isnan(expected)].all()
