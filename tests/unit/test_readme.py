"""The Python of the README and of the tour runs as it stands; their doctests run by themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradmill as gm

PROJECT = Path(__file__).parents[2]


def examples(page: str) -> list[str]:
    """The blocks of Python without prompts."""
    blocks = re.findall(r"```python\n(.*?)```", (PROJECT / page).read_text(), re.DOTALL)
    return [block for block in blocks if not block.startswith(">>>")]


def test_readme(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    training, purely = examples("README.md")
    exec(training, names)  # noqa: S102  (it is our own README)
    np.testing.assert_allclose(names["params"]["w"], np.arange(10), atol=0.05)
    assert "one loop: clip_by_global_norm" in capsys.readouterr().out
    exec(purely, names)  # noqa: S102  (our own)
    assert names["params"]["w"].dtype == np.float32


def test_readme_is_short() -> None:
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 100


def test_readme_points_to_what_there_is() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", (PROJECT / "README.md").read_text())
    assert len(targets) > 10
    assert [to for to in targets if not (PROJECT / to).exists()] == []


def test_tour() -> None:
    in_torch, in_jax = examples("docs/tour.md")
    # tests/adapters has torch.
    compile(in_torch, "docs/tour.md", "exec")
    pytest.importorskip("jax")
    names: dict[str, Any] = {"gm": gm}
    names["x"], names["y"] = np.ones((4, 10), np.float32), np.ones(4, np.float32)
    exec(in_jax, names)  # noqa: S102  (our own)
    assert names["state"][1][0].count == 1
