"""A user's functions warn of nothing, in NumPy with the short way and without it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from gradmill._data import quiet


@pytest.fixture(params=["short", "long"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "long":
        monkeypatch.setattr(quiet, "_state", None)
    elif quiet._state is None:
        pytest.skip("this NumPy has no short way")


def test_nothing_is_warned_of_and_all_is_as_before() -> None:
    def function(count: Any, scale: float = 1.0) -> Any:
        return scale * np.float64(1e300) * 1e300 / count

    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        assert quiet.quietly(function, np.int64(0), {}) == np.inf
        assert quiet.quietly(function, np.int64(0), {"scale": -1.0}) == -np.inf
        with pytest.raises(FloatingPointError):
            np.float64(1e300) * 1e300


def test_an_error_ends_it() -> None:
    def function(count: Any) -> Any:
        raise KeyError(count)

    with np.errstate(all="raise"):
        before = np.geterr()
        with pytest.raises(KeyError):
            quiet.quietly(function, np.int64(0), {})
        assert np.geterr() == before
