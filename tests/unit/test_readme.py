"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

README = Path(__file__).parents[2] / "README.md"


def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    training, purely, groups, half, reports, in_torch, in_jax = examples
    exec(training, names)  # noqa: S102  (it is our own README)
    np.testing.assert_allclose(names["params"]["w"], np.arange(10), atol=0.05)
    exec(purely, names)  # noqa: S102  (our own)
    assert names["params"]["w"].dtype == np.float32
    exec(groups, names)  # noqa: S102  (our own)
    exec(half, names)  # noqa: S102  (our own)
    first, master = names["half"]["w"][0], names["opt"].master["w"][0]
    assert 0 > first == master.astype(first.dtype)
    exec(reports, names)  # noqa: S102  (our own)
    assert names["epoch"] == 3
    assert names["report"].learning_rate == 1e-3
    # tests/adapters has torch.
    compile(in_torch, "README.md", "exec")
    pytest.importorskip("jax")
    exec(in_jax, names)  # noqa: S102  (our own)
    assert names["state"][1][0].count == 1
