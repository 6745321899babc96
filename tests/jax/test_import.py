"""Without JAX or optax the import says what to install."""

from __future__ import annotations

import pytest

from tests.processes import python


@pytest.mark.parametrize("missing", ["jax", "optax"])
def test_what_is_missing(missing: str) -> None:
    code = "import sys; sys.modules[sys.argv[1]] = None; import gradmill; import gradmill.jax"
    error = python(code, missing, fails=True)
    assert "pip install 'gradmill[optax]'" in error.splitlines()[-1]
