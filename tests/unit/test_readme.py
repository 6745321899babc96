"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

README = Path(__file__).parents[2] / "README.md"


def test_examples_run() -> None:
    names: dict[str, Any] = {}
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    training, purely, groups, half, in_jax = examples
    exec(training, names)  # noqa: S102  (it is our own README)
    np.testing.assert_allclose(names["params"]["w"], np.arange(10), atol=0.05)
    exec(purely, names)  # noqa: S102  (likewise)
    assert names["params"]["w"].dtype == np.float32
    exec(groups, names)  # noqa: S102  (likewise)
    exec(half, names)  # noqa: S102  (likewise)
    pytest.importorskip("jax")
    exec(in_jax, names)  # noqa: S102  (likewise)
    assert names["state"][1][0].count == 1
    assert 0 > names["half"]["w"][0] == names["opt"].master["w"][0].astype(names["half"]["w"].dtype)
