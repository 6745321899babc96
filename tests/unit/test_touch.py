"""The plain loop that benchmarks compare with refuses what it cannot walk over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradmill import _core


def arrays(count: int = 3, dtype: Any = np.float32, size: int = 8) -> Any:
    return [np.ones(size, dtype) for _ in range(count)]


@pytest.mark.parametrize("norm", [False, True])
def test_three_arrays_are_written(norm: bool) -> None:
    updates, three = np.full(8, 2, np.float32), arrays()
    before = [array.copy() for array in three]
    _core.touch(updates, three, norm)
    assert any((array != old).any() for array, old in zip(three, before, strict=True))


@pytest.mark.parametrize(
    "three",
    [
        arrays(2),
        arrays(dtype=np.float64),
        [*arrays(2), np.ones(7, np.float32)],
        [*arrays(2), np.ones(16, np.float32)[::2]],
        [*arrays(2), [1.0]],
    ],
)
def test_others_are_refused(three: Any) -> None:
    with pytest.raises((TypeError, ValueError, _core.CoreError)):
        _core.touch(np.ones(8, np.float32), three, False)


def test_overlap_is_refused() -> None:
    shared = np.ones(8, np.float32)
    with pytest.raises(ValueError, match="overlap"):
        _core.touch(np.ones(8, np.float32), (shared, shared, np.ones(8, np.float32)), False)
