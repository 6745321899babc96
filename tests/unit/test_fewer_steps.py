"""The example shows what the papers say."""

from __future__ import annotations

from pathlib import Path

from tests.processes import python

EXAMPLE = Path(__file__).parents[2] / "examples" / "fewer_steps.py"


def test_fewer_steps() -> None:
    rows = [line.split() for line in python(EXAMPLE, "--seeds", 1, "--size", 12).splitlines()[1:]]
    steps = {name: int(number) for name, _, number in rows}
    assert steps["soap"] < steps["adamw"] / 2
    assert steps["cautious_adamw"] < steps["adamw"] < 1000
