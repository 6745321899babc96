"""Settings for the tests of gradmill.jax."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import jax
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "JAX_DISABLE_MOST_OPTIMIZATIONS"


@pytest.fixture(autouse=True, scope="package")
def optimized() -> Iterator[None]:
    """Programs as users compile them, those of other processes as well."""
    usual = os.environ.get(VARIABLE) == "1"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE, raising=False)
        jax.config.update(VARIABLE.lower(), False)
        yield
    jax.config.update(VARIABLE.lower(), usual)
