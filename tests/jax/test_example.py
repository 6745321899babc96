"""The example trains with all three, equally well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import python

EXAMPLE = Path(__file__).parents[2] / "examples" / "jax_digits.py"


def test_digits() -> None:
    pytest.importorskip("equinox")
    pytest.importorskip("sklearn")
    lines = python(EXAMPLE, "--width", 32, "--epochs", 12).splitlines()[-3:]
    assert [line.split()[0] for line in lines] == [
        "optax",
        "gradmill.jax.to_optax",
        "gradmill.jax.step",
    ]
    accuracies = [float(line.split()[-1]) for line in lines]
    assert min(accuracies) > 0.9
    assert max(accuracies) - min(accuracies) <= 0.01
