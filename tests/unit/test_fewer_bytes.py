"""The example shows what docs/memory.md says of few bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import python

EXAMPLE = Path(__file__).parents[2] / "examples" / "fewer_bytes.py"


def test_fewer_bytes(tmp_path: Path) -> None:
    for package in ("sklearn", "matplotlib"):
        pytest.importorskip(package, reason="needs what the example imports")
    plot = tmp_path / "plot.png"
    names = ["adamw", "bf16", "8bit", "apollo_mini"]
    options = {"--only": ",".join(names), "--seeds": 1, "--steps": 20, "--width": 16}
    options |= {"--layers": 1, "--timed-width": 128, "--plot": plot}
    printed = python(EXAMPLE, *(word for pair in options.items() for word in pair))
    rows = {
        name: list(map(float, rest)) for name, *rest in map(str.split, printed.splitlines()[2:])
    }
    assert list(rows) == names
    loss, _, _, state, _, decades, sparse = zip(*rows.values(), strict=True)
    # Twenty steps are better than guessing one of 17 greys.
    assert max(loss) < 2.8
    assert state == pytest.approx([8, 4, 2.3, 0.3], abs=0.1)
    assert decades[:2] == (1.0, 1.0)
    assert max(decades[2:]) < 0.5
    assert sparse[0] < sparse[3]
    assert plot.stat().st_size > 10_000
