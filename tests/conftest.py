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

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "fast")
if PROFILE == "fast":
    # Most programs of JAX run a few times, so compiling takes longer than optimizing saves. Those
    # in tests/jax are as users have them. JAX reads it when it is imported.
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# The same examples in each run of `make test`; others in each run of `make test-full`.
hypothesis.settings.register_profile(
    "fast", max_examples=10, deadline=None, derandomize=True, database=None
)
hypothesis.settings.register_profile("full", max_examples=40, deadline=None)
hypothesis.settings.register_profile("slow", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(PROFILE)


@pytest.fixture(autouse=True)
def default_configuration() -> Iterator[None]:
    """Undo what a test forced."""
    yield
    _core.force()
    _core.set_num_threads(0)
