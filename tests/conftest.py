"""Settings for all tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest

from gradmill import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

# Its import replaces the extension.
collect_ignore = ["other_core.py"]

# The same examples in each run of `make test`; others in each run of `make test-full`.
hypothesis.settings.register_profile(
    "fast", max_examples=10, deadline=None, derandomize=True, database=None
)
hypothesis.settings.register_profile("full", max_examples=40, deadline=None)
hypothesis.settings.register_profile("slow", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_configure(config: pytest.Config) -> None:
    """Have JAX compile with few optimizations where variants are left out.

    Most programs run a few times. Those in tests/jax, and all in ``make test-full``, are compiled
    as users have them. JAX reads this when it is imported.
    """
    if config.option.markexpr == "not full":
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


@pytest.fixture(autouse=True)
def default_configuration() -> Iterator[None]:
    """Undo what a test forced."""
    yield
    _core.force()
    _core.set_num_threads(0)
